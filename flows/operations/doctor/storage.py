"""A workspace: whether it can be used, by whom it is, and whether its disk has room."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from figa_core.artifacts.store import Store
from figa_core.processes.lease import describe_holder, is_held
from figa_core.storage.database import Database
from figa_core.storage.file_systems import mount_of
from figa_core.storage.runs import all_runs
from flows.checks.room import size_text
from flows.checks.workspace import nearest_existing, network_text, refused_mount
from flows.operations.doctor.lines import Line, ok, problem, warning
from tasks.workspace import Workspace

LITTLE_BYTES = 5_000_000_000
"""Less room than this is worth a warning: the checks of a run know what its trainings need."""


def storage_lines(directory: Path) -> Iterator[Line]:
    """The workspace in this directory. Raises WorkspaceError if it cannot be written or read."""
    workspace = Workspace(directory)
    free = shutil.disk_usage(nearest_existing(directory)).free
    yield (warning if free < LITTLE_BYTES else ok)("disk", f"{directory} has {size_text(free)} left")
    mount = mount_of(directory)
    if (refused := refused_mount(directory)) is not None:
        yield warning("file system", network_text(directory, refused))
    elif mount is not None and mount.is_network:
        yield ok(
            "file system", f"{mount.kind}, a network file system, which {workspace.network_permit} permits"
        )
    if not workspace.database.path.is_file():
        yield ok("workspace", f"none in {directory} yet; the first run makes it")
        return
    workspace.check_writable()
    if is_held(directory):
        yield ok("workspace", f"{directory}, in use by {describe_holder(directory)}")
    else:
        yield ok("workspace", f"{directory}, not in use")
    yield from schema_lines(workspace.database)


def named_store(directory: Path) -> str | None:
    """The URL of the store of the latest run in this workspace that names one."""
    database = Workspace(directory).database
    runs = all_runs(database) if database.path.is_file() else []
    named = (run.config.get("storage", {}).get("artifacts") for run in runs)
    return next((url for url in named if url), None)


def store_lines(directory: Path, url: str | None) -> Iterator[Line]:
    """Whether the store at `url`, or the workspace's, can be written and read here; nothing without one.

    Raises ArtifactsError or ConfigError if it cannot.
    """
    url = url or named_store(directory)
    if url is not None:
        Store(url).check()
        yield ok("store", f"{url} can be written and read here")


def schema_lines(database: Database) -> Iterator[Line]:
    """Whether this version can use the database; it is not migrated here."""
    from figa_core.storage.migrations import SCHEMA_VERSION

    found = database.value("SELECT coalesce(max(number), 0) FROM migrations")
    if found > SCHEMA_VERSION:
        yield problem(
            "database", f"has schema {found}, and this version knows {SCHEMA_VERSION}. Update figa here."
        )
    else:
        later = "" if found == SCHEMA_VERSION else f"; the next command brings it to {SCHEMA_VERSION}"
        yield ok("database", f"schema {found}{later}")
