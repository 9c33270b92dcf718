"""A workspace that a command or a flow is given by its directory."""

from pathlib import Path

from figa_core.config.file import absolute_path
from figa_core.errors import InputError
from figa_core.findings import shortened
from tasks.workspace import Workspace

_PATH_MAX = 250


def existing_workspace(directory: Path) -> Workspace:
    """The workspace in `directory`.

    Raises:
        InputError: there is none, or there can be none.
    """
    shown = shortened(str(directory), _PATH_MAX)
    try:
        workspace = Workspace(absolute_path(directory, Path.cwd()))
    except ValueError as error:
        raise InputError(f"{shown}: cannot be a workspace: {error}. Name another directory.") from error
    if not workspace.database.path.is_file():
        raise InputError(
            f"{shown}: no workspace here (no {workspace.database.path.name}). "
            "Name another directory (on the command line with --workspace), or make one with `figa demo` or "
            "`figa run`."
        )
    workspace.database.create()  # brings one of an older version up to date
    return workspace
