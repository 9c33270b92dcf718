"""The files of a comparison of methods: a page for people and JSON for programs."""

from pathlib import Path

from figa_core.errors import WorkspaceError
from figa_core.files import write_whole
from figa_core.report.methods.comparison import MethodsComparison
from figa_core.report.methods.data import MethodsData
from figa_core.report.methods.json import methods_json
from tasks.workspace import Workspace


def write_methods(workspace: Workspace, data: MethodsData, found: MethodsComparison) -> Path:
    """Write both; returns the page's path. Raises WorkspaceError if they cannot be written."""
    from figa_core.report.methods.html import render_methods  # matplotlib, a second to import

    path = workspace.methods_report(data.run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.with_suffix(".json"), methods_json(data, found))
        write_whole(path, render_methods(data, found).encode(errors="replace"))
    except OSError as error:
        raise WorkspaceError(
            f"{path}: cannot write the comparison: {error.strerror or error}. Free space or correct the "
            "permissions, then run the same command again: it repeats no training."
        ) from error
    return path
