"""Runs the load benchmark's client, and measures it, the Prefect server and the teacher meanwhile."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from figa_core.sandbox.teacher_process import TeacherProcess
from flows.server.process import PrefectServer
from tests.benchmarks.child import start, wait_for
from tests.benchmarks.load_spec import Outcome, Spec
from tests.benchmarks.other_work import OtherWork
from tests.benchmarks.sampling import Sampler

_TIME_LIMIT_S = 3600.0
_POLL_S = 0.5
_SETTLED_S = 3.0  # without a new task run for so long, the server has stored everything


@dataclass(frozen=True, slots=True)
class Place:
    """Shared by all runs."""

    directory: Path
    prompts: Path
    base: Path
    reward: Path
    server: PrefectServer
    teacher: TeacherProcess

    @property
    def server_pid(self) -> int:
        """The Prefect server's process id."""
        [server] = [c for c in psutil.Process().children() if "flows.server" in c.cmdline()]
        return server.pid


@dataclass(frozen=True, slots=True)
class Run:
    """A run's outcome, samples of client, server and teacher, and its task runs on the server.

    `other_cores` is the mean number of cores that other work used meanwhile.
    """

    outcome: Outcome
    samples: Sampler
    task_runs: int
    other_cores: float

    @property
    def seconds(self) -> float:
        """Wall time of the flow."""
        return self.outcome.whole.seconds


def run_client(place: Place, rows: int, *, prefect: bool) -> Run:
    """Run the client on a new workspace, which is removed afterwards.

    Raises:
        RuntimeError: it failed; the message has the end of its log.
    """
    workspace = place.directory / "workspace"
    spec = Spec(
        rows=rows,
        prompts=str(place.prompts),
        workspace=str(workspace),
        base=str(place.base),
        reward=str(place.reward),
        base_url=place.teacher.base_url,
        prefect=prefect,
    )
    before, other_work = _task_runs(place.server.api_url), OtherWork()
    try:
        samples, outcome = _watched(place, spec)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    cores = other_work.cores()  # including the server and the teacher, which were not waited for
    mine = (samples.cpu_s("server") + samples.cpu_s("teacher")) / outcome.whole.seconds
    return Run(outcome, samples, _task_runs(place.server.api_url) - before, max(0.0, cores - mine))


def _watched(place: Place, spec: Spec) -> tuple[Sampler, Outcome]:
    spec_path, outcome_path, log = (place.directory / f"client-{name}" for name in ("spec", "outcome", "log"))
    spec.save(spec_path)
    client = start(
        "load_client",
        (spec_path, outcome_path),
        log,
        PREFECT_API_URL=place.server.api_url,
        PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    with Sampler(client=client.pid, server=place.server_pid, teacher=place.teacher.pid) as samples:
        wait_for(client, "the client", _TIME_LIMIT_S)
    return samples, Outcome.load(outcome_path)


def _task_runs(api_url: str) -> int:
    """The number of task runs on the server, once it has stopped growing."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < _SETTLED_S:
        response = httpx2.post(f"{api_url}/task_runs/count", json={}, timeout=60)
        response.raise_for_status()
        if response.json() != count:
            count, since = response.json(), time.monotonic()
        time.sleep(_POLL_S)
    return count
