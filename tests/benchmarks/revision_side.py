"""A contender's process, its teacher, and the contender's requests in the teacher's log."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from figa_core.processes.child import Child
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import MODEL
from tests.benchmarks.child import ROOT, require_success, start
from tests.benchmarks.revision_spec import NO_LIMIT, NO_TOKEN_LIMIT, Kind, Outcome, Spec

_POLL_S = 0.2
_NOT_INHERITED = ("OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")  # without bytecode every start is slow
_TIME_LIMIT_S = 600.0
_MODULES = {"bare_httpx": "revision_bare"}


def python_of(kind: Kind) -> Path:
    """The interpreter of a contender's own environment, or ours."""
    others = ("curator", "distilabel")
    return ROOT / f".venv-{kind}" / "bin" / "python" if kind in others else Path(sys.executable)


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the teacher's log: seconds since the first, the message's hash, whether it was answered."""

    at_s: float
    sha: str
    answered: bool


@dataclass(frozen=True, slots=True)
class Server:
    """A teacher's settings: latency in seconds, limits per minute, and the window of the limits."""

    latency_s: float = 0.1
    requests_per_minute: int = NO_LIMIT
    tokens_per_minute: int = NO_TOKEN_LIMIT
    window_s: float = 60.0


@dataclass(slots=True)
class Side:
    """A contender and its teacher, which both end with this context.

    Args:
        spec: without the teacher's address.
        server: the teacher's settings.
        known: hashes of the rows' messages; other requests (a contender's test call) are not counted.
    """

    spec: Spec
    server: Server
    known: Collection[str]
    _stack: ExitStack = field(default_factory=ExitStack)
    _process: Child | None = None
    _teacher: TeacherProcess | None = None

    def __enter__(self) -> Self:
        Path(self.spec.directory).mkdir(parents=True, exist_ok=True)
        self._teacher = self._stack.enter_context(
            TeacherProcess(
                log=self._path("requests.jsonl"),
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

    def start(self) -> None:
        """Start the contender, for the first time or again with the files it kept."""
        assert self._teacher is not None
        kind, spec_path, outcome = self.spec.kind, self._path("spec.json"), self._path("outcome.json")
        replace(self.spec, base_url=self._teacher.base_url, model=MODEL).save(spec_path)
        outcome.unlink(missing_ok=True)
        self._process = start(
            "contender",
            (_MODULES.get(kind, f"revision_{kind}"), spec_path, outcome),
            self._path("output.txt"),
            python=python_of(kind),
            without=_NOT_INHERITED,
        )

    def wait(self) -> Outcome:
        """The outcome, once the contender is done.

        Raises:
            RuntimeError: it failed, or took longer than ten minutes.
        """
        if not self.wait_until(lambda: False):
            return Outcome.load(self._path("outcome.json"))
        raise RuntimeError(f"{self.spec.kind} took longer than {_TIME_LIMIT_S:.0f} s")

    def wait_unless_stuck(self, seconds: float) -> Outcome | None:
        """The outcome, or None if no request has come for this time: then it is stuck."""
        seen, since = -1, time.monotonic()

        def is_stuck() -> bool:
            nonlocal seen, since
            if self.requests_seen() != seen:
                seen, since = self.requests_seen(), time.monotonic()
            return time.monotonic() - since > seconds

        return None if self.wait_until(is_stuck) else Outcome.load(self._path("outcome.json"))

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait until `condition` holds or the time is up (True), or the contender has ended (False).

        Raises:
            RuntimeError: it failed.
        """
        assert self._process is not None
        self._process.wait_until(condition, timeout_s=_TIME_LIMIT_S, poll_s=_POLL_S)
        if self._process.exit_code is None:
            return True
        require_success(self._process, self.spec.kind)
        return False

    def kill(self) -> None:
        """kill -9 to the contender and every process it started."""
        if self._process is not None:
            if self._process.exit_code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()

    def elapsed_s(self) -> float:
        """Seconds since the first request; 0 before it."""
        with self._path("requests.jsonl").open(encoding="utf-8") as file:
            line = file.readline()
        return time.time() - json.loads(line)["time"] if line.endswith("\n") else 0.0

    def requests_seen(self) -> int:
        """Requests so far, of any kind."""
        assert self._teacher is not None
        return self._teacher.requests()

    def requests(self) -> list[Request]:
        """The rows' requests in order of arrival."""
        log = self._path("requests.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in log.splitlines()]
        lines = [line for line in lines if line["message_sha256"] in self.known]
        return [
            Request(line["time"] - lines[0]["time"], line["message_sha256"], line["outcome"] == "answered")
            for line in lines
        ]

    def _path(self, name: str) -> Path:
        """A file beside the contender's directory, which is the contender's own."""
        return Path(f"{self.spec.directory}-{name}")
