"""The workspace: whether it can be created and written to."""

import os
from collections.abc import Iterator
from pathlib import Path

from figa_core.errors import WorkspaceError
from figa_core.findings import Finding, problem
from figa_core.storage.file_systems import Mount, mount_of
from flows.checks.facts import Facts
from tasks.workspace import Workspace


def check_directory(facts: Facts) -> Iterator[Finding]:
    """It is a directory that can be written to, or can be created as one."""
    path = facts.config.workspace.path
    found = nearest_existing(path)
    if not found.is_dir():
        yield problem(
            "workspace.path", f"{path} cannot be a directory: {found} is a file. Choose another path."
        )
    elif os.statvfs(found).f_flag & os.ST_RDONLY:
        yield problem(
            "workspace.path",
            f"{path} cannot be written to: {found} lies on a file system that is mounted read-only. Choose "
            "another path, or mount it for writing.",
        )
    elif not os.access(found, os.W_OK | os.X_OK):
        yield problem(
            "workspace.path",
            f"{path} cannot be written to: no permission to write to {found}. Choose another path.",
        )


def check_file_system(facts: Facts) -> Iterator[Finding]:
    """The database does not lie on a network file system, unless that is permitted."""
    config = facts.config
    mount = refused_mount(config.workspace.path)
    if mount is not None and not config.storage.database_on_network:
        yield problem("workspace.path", network_text(config.workspace.path, mount))


def refused_mount(directory: Path) -> Mount | None:
    """The network file system that holds a workspace, unless the workspace has the permit for it."""
    mount = mount_of(directory)
    if mount is None or not mount.is_network or Workspace(directory).network_permit.exists():
        return None
    return mount


def check_place(directory: Path) -> None:
    """For commands that have no settings: raises WorkspaceError for a database on a network file system."""
    if (mount := refused_mount(directory)) is not None:
        raise WorkspaceError(network_text(directory, mount))


def permit_network(directory: Path) -> None:
    """Let commands without settings open the database that a run was permitted to open there.

    Raises WorkspaceError if that cannot be written.
    """
    if (mount := refused_mount(directory)) is None:
        return
    permit = Workspace(directory).network_permit
    try:
        permit.write_text(f"on {mount.kind}, mounted at {mount.point}\n", encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"{permit}: cannot be written: {error.strerror or error}. Correct the permissions."
        ) from error


def network_text(path: Path, mount: Mount) -> str:
    """Why a workspace should not lie there, and what to do."""
    return (
        f"{path} lies on a network file system ({mount.kind}, mounted at {mount.point}), whose locks may not "
        "keep other machines out: two that open the database at once destroy it. Choose a path on a local "
        "disk. If its locks hold between all your machines, set storage.database_on_network = true for runs, "
        f"which permits it for all commands, or permit it by hand: touch {Workspace(path).network_permit}"
    )


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next((each for each in (path, *path.parents) if each.exists()), Path(path.anchor))
