"""The workspace: whether it can be created and written to."""

import os
from collections.abc import Iterator
from pathlib import Path

from figa_core.findings import Finding, problem
from flows.checks.facts import Facts


def check_directory(facts: Facts) -> Iterator[Finding]:
    """It is a directory that can be written to, or can be created as one."""
    path = facts.config.workspace.path
    found = nearest_existing(path)
    if not found.is_dir():
        yield problem(
            "workspace.path", f"{path} cannot be a directory: {found} is a file. Choose another path."
        )
    elif not os.access(found, os.W_OK | os.X_OK):
        yield problem(
            "workspace.path",
            f"{path} cannot be written to: no permission to write to {found}. Choose another path.",
        )


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next((each for each in (path, *path.parents) if each.exists()), Path(path.anchor))
