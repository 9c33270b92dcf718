"""Looks at everything, in the order in which things depend on each other."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from flows.operations.doctor.installation import installation_lines
from flows.operations.doctor.lines import Level, Line, looked_at
from flows.operations.doctor.server import server_lines
from flows.operations.doctor.storage import storage_lines, store_lines
from flows.operations.doctor.workers import worker_lines
from flows.server.api import configured_url


def examine(workspace: Path, *, wait_s: float, artifacts: str | None = None) -> Iterator[Line]:
    """A line about each thing.

    Args:
        workspace: its directory, which need not exist yet.
        wait_s: the longest to wait for workers, in seconds.
        artifacts: URL of the workspace's store; by default that of the latest run that names one.
    """
    yield from looked_at("installation", installation_lines)
    yield from looked_at("workspace", partial(storage_lines, workspace))
    yield from looked_at("store", partial(store_lines, workspace, artifacts))
    served = looked_at("Prefect", server_lines)
    yield from served
    answers = configured_url() is not None and any(each.level is Level.OK for each in served)
    if answers:
        yield from looked_at("workers", partial(worker_lines, workspace, wait_s, artifacts))
