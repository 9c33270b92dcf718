"""A contender at work: its process, the teacher it asks, and what the teacher's own log says of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import MODEL
from tests.benchmarks.revision_spec import NO_LIMIT, NO_TOKEN_LIMIT, Kind, Outcome, Spec

_ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.2
_NOT_HANDED_ON = ("OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")  # or every start compiles all that it imports
_TIME_LIMIT_S = 600.0
_ENVIRONMENTS = {"curator": ".venv-curator", "distilabel": ".venv-distilabel"}


def python_of(kind: Kind) -> Path:
    """The interpreter of the environment that a contender has for itself, or ours."""
    name = _ENVIRONMENTS.get(kind)
    return Path(sys.executable) if name is None else _ROOT / name / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the teacher's log: seconds since the first, the message's hash, whether it was answered."""

    at_s: float
    sha: str
    answered: bool


@dataclass(frozen=True, slots=True)
class Server:
    """How one measurement's teacher behaves: latency in seconds, limits a minute, held over `window_s`."""

    latency_s: float = 0.1
    requests_per_minute: int = NO_LIMIT
    tokens_per_minute: int = NO_TOKEN_LIMIT
    window_s: float = 60.0


@dataclass(slots=True)
class Side:
    """A contender with a teacher of its own: a context manager; both are gone when it is left.

    Args:
        spec: without the address, which is the teacher's.
        server: how the teacher behaves.
        known: hashes of the rows' messages; other requests (a contender's test call) are not counted.
    """

    spec: Spec
    server: Server
    known: Collection[str]
    _stack: ExitStack = field(default_factory=ExitStack)
    _process: subprocess.Popen[bytes] | None = None
    _teacher: TeacherProcess | None = None

    def __enter__(self) -> Self:
        self._place.mkdir(parents=True, exist_ok=True)
        self._teacher = self._stack.enter_context(
            TeacherProcess(
                log=self._log,
                requests_per_minute=self.server.requests_per_minute,
                tokens_per_minute=self.server.tokens_per_minute,
                window_s=self.server.window_s,
                latency_s=self.server.latency_s,
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._stack.close()

    @property
    def _place(self) -> Path:
        return Path(self.spec.directory)

    @property
    def _log(self) -> Path:
        return self._place.with_name(self._place.name + "-requests.jsonl")

    def start(self) -> None:
        """Start the contender, for the first time or again on what it kept."""
        assert self._teacher is not None
        told = self._place.with_name(self._place.name + "-spec.json")
        replace(self.spec, base_url=self._teacher.base_url, model=MODEL).save(told)
        self._outcome.unlink(missing_ok=True)
        command = [str(python_of(self.spec.kind)), "-m", "tests.benchmarks.revision_contender"]
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, str(told), str(self._outcome)],
                cwd=_ROOT,
                env={name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that a kill reaches the processes it starts
            )

    def wait(self) -> Outcome:
        """The outcome, once the contender is done.

        Raises:
            RuntimeError: it failed, or took longer than ten minutes.
        """
        if not self.wait_until(lambda: False):
            return Outcome.load(self._outcome)
        raise RuntimeError(f"{self.spec.kind} took too long:\n{self._last_words()}")

    def wait_unless_stuck(self, seconds: float) -> Outcome | None:
        """The outcome, or None once no request has come for so many seconds: it will not end any more."""
        seen, since = -1, time.monotonic()

        def is_stuck() -> bool:
            nonlocal seen, since
            if self.requests_seen() != seen:
                seen, since = self.requests_seen(), time.monotonic()
            return time.monotonic() - since > seconds

        return None if self.wait_until(is_stuck) else Outcome.load(self._outcome)

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait until `condition` holds (True) or the contender is done (False)."""
        assert self._process is not None
        deadline = time.monotonic() + _TIME_LIMIT_S
        while self._process.poll() is None:
            if condition() or time.monotonic() > deadline:
                return True
            time.sleep(_POLL_S)
        if self._process.returncode != 0:
            raise RuntimeError(
                f"{self.spec.kind} ended with code {self._process.returncode}:\n{self._last_words()}"
            )
        return False

    def kill(self) -> None:
        """kill -9 to the contender and every process it started."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def elapsed_s(self) -> float:
        """Seconds since the first request; 0 before it."""
        first = self._first_time()
        return 0.0 if first is None else time.time() - first

    def requests_seen(self) -> int:
        """Requests so far, of any kind."""
        assert self._teacher is not None
        return self._teacher.requests()

    def requests(self) -> list[Request]:
        """The rows' requests in order of arrival."""
        lines = [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if line["message_sha256"] in self.known]
        return [
            Request(line["time"] - lines[0]["time"], line["message_sha256"], line["outcome"] == "answered")
            for line in lines
        ]

    @property
    def _outcome(self) -> Path:
        return self._place.with_name(self._place.name + "-outcome.json")

    @property
    def _said(self) -> Path:
        return self._place.with_name(self._place.name + "-output.txt")

    def _last_words(self) -> str:
        return self._said.read_text(encoding="utf-8", errors="replace")[-3000:]

    def _first_time(self) -> float | None:
        with self._log.open(encoding="utf-8") as file:
            line = file.readline()
        return json.loads(line)["time"] if line.endswith("\n") else None
