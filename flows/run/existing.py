"""Opens the workspace whose directory a command or a flow is given."""

from pathlib import Path

from figa_core.config.file import absolute_path
from figa_core.errors import InputError
from figa_core.findings import shortened
from flows.checks.workspace import check_place
from tasks.workspace import Workspace


def existing_workspace(directory: Path) -> Workspace:
    """The workspace in `directory`, brought to this version's schema.

    Raises:
        InputError: there is none, or the path is not valid.
        WorkspaceError: it lies on a network file system, which nobody has permitted.
    """
    shown = shortened(str(directory), 250)
    try:
        workspace = Workspace(absolute_path(directory, Path.cwd()))
    except ValueError as error:
        raise InputError(f"{shown}: cannot be a workspace: {error}. Choose another directory.") from error
    if not workspace.database.path.is_file():
        raise InputError(
            f"{shown}: no workspace here (no {workspace.database.path.name}). "
            "Choose another directory (on the command line with --workspace), or create one with `figa demo` "
            "or `figa run`."
        )
    check_place(workspace.directory)
    workspace.database.create()  # migrates one of an older version
    return workspace
