"""Looks at everything, in the order in which things depend on each other."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from flows.operations.doctor.installation import installation_lines
from flows.operations.doctor.lines import Level, Line, looked_at
from flows.operations.doctor.server import server_lines
from flows.operations.doctor.storage import storage_lines
from flows.operations.doctor.workers import worker_lines
from flows.server.api import configured_url


def examine(workspace: Path, *, wait_s: float) -> Iterator[Line]:
    """A line about each thing; `wait_s`: the longest to wait for workers, in seconds."""
    yield from looked_at("installation", installation_lines)
    yield from looked_at("workspace", partial(storage_lines, workspace))
    served = looked_at("Prefect", server_lines)
    yield from served
    answers = configured_url() is not None and any(each.level is Level.OK for each in served)
    if answers and workspace.is_dir():
        yield from looked_at("workers", partial(worker_lines, workspace, wait_s))
