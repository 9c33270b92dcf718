"""What a worker says of itself and of the storage, for `figa doctor`, which starts it on every pool."""

import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson
from prefect import __version__ as prefect_version
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError, ConfigError, WorkspaceError
from figa_core.inference.devices import gpus_here
from flows.checks.workspace import nearest_existing
from flows.server.names import CHECK_WORKER
from flows.server.versions import own_code, own_version
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What holds where a worker runs.

    `clock` in seconds since the epoch; `sees` whether the file that the asker wrote into the workspace is
    there, `writes` whether files can be written beside it, and `free` its bytes left. If the worker reaches
    the workspace's files through a store, the first two are about that, and `trouble` is its error. `gpus` is
    how many are seen and `code` the hash of its code; None from a worker of an earlier version.
    """

    host: str
    version: str
    prefect: str
    clock: float
    sees: bool
    writes: bool
    free: int
    trouble: str = ""
    gpus: int | None = None
    code: str | None = None

    @classmethod
    def from_fields(cls, stated: Mapping[str, Any]) -> "WorkerFacts":
        """From a worker's JSON object, which may be of another version: what is not known here is left out.

        Raises TypeError if something is missing.
        """
        return cls(**{each.name: stated[each.name] for each in fields(cls) if each.name in stated})


@flow(name=CHECK_WORKER, flow_run_name="check the worker on {pool}", persist_result=False)
def check_worker(
    pool: str,  # noqa: ARG001 - in the run's name
    workspace: Path,
    token: str,
    artifacts: str | None = None,
) -> State[None]:
    """Tell whether this worker sees a workspace. The answer is the message of the final state, as JSON.

    Args:
        pool: Name of the work pool, for the run's name.
        workspace: Directory of the workspace.
        token: Name and content of the file that whoever asks has written into the workspace or the store.
        artifacts: URL of the workspace's store, if workers of this pool do not share its disk.
    """
    return Completed(message=orjson.dumps(asdict(facts_of(workspace, token, artifacts))).decode())


def facts_of(workspace: Path, token: str, artifacts: str | None = None) -> WorkerFacts:
    """The facts where this process runs."""
    there, trouble = workspace.is_dir(), ""
    if artifacts is None:
        sees, writes = there and _content(workspace / token) == token, there and _is_writable(workspace)
    else:
        sees, trouble = _reaches(artifacts, token)
        writes = sees
    return WorkerFacts(
        host=socket.gethostname(),
        version=own_version(),
        prefect=prefect_version,
        clock=time.time(),
        sees=sees,
        writes=writes,
        free=shutil.disk_usage(nearest_existing(workspace)).free if there or artifacts else 0,
        trouble=trouble,
        gpus=gpus_here(),
        code=own_code(),
    )


def _reaches(url: str, token: str) -> tuple[bool, str]:
    """Whether the store can be read and written here and holds the token; and what is wrong."""
    try:
        store = Store(url)
        store.check()
        if store.read(token) == token.encode():
            return True, ""
    except (ArtifactsError, ConfigError) as error:
        return False, str(error)
    return False, f"{url}: it does not hold the file that was written there."


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
