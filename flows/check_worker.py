"""What a worker says of itself and of the storage, for `figa doctor`, which starts it on every pool."""

import shutil
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from prefect import __version__ as prefect_version
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from figa_core.errors import WorkspaceError
from flows.server.names import CHECK_WORKER
from flows.server.versions import own_version
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What holds where a worker runs.

    `clock` in seconds since the epoch; `sees` whether the file that the asker wrote into the workspace is
    there, `writes` whether files can be written beside it, and `free` its bytes left.
    """

    host: str
    version: str
    prefect: str
    clock: float
    sees: bool
    writes: bool
    free: int


@flow(name=CHECK_WORKER, flow_run_name="check the worker on {pool}", persist_result=False)
def check_worker(
    pool: str,  # noqa: ARG001 - in the run's name
    workspace: Path,
    token: str,
) -> State[None]:
    """Tell whether this worker sees a workspace. The answer is the message of the final state, as JSON.

    Args:
        pool: Name of the work pool, for the run's name.
        workspace: Directory of the workspace.
        token: Name and content of the file that whoever asks has written into the workspace.
    """
    return Completed(message=orjson.dumps(asdict(facts_of(workspace, token))).decode())


def facts_of(workspace: Path, token: str) -> WorkerFacts:
    """The facts where this process runs."""
    there = workspace.is_dir()
    return WorkerFacts(
        host=socket.gethostname(),
        version=own_version(),
        prefect=prefect_version,
        clock=time.time(),
        sees=there and _content(workspace / token) == token,
        writes=there and _is_writable(workspace),
        free=shutil.disk_usage(workspace).free if there else 0,
    )


def _is_writable(workspace: Path) -> bool:
    try:
        Workspace(workspace).check_writable()
    except WorkspaceError:
        return False
    return True


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
