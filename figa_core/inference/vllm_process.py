"""vLLM processes: started once, kept for following stages with the same model, and ended in time.

A worker (`vllm_worker`) loads one copy of a model and then reads jobs, a line of JSON each, from its standard
input. Starting it takes longer than the work of a small stage, so a `VllmKeeper` keeps the copies of one
model between stages, never those of two, which do not fit into one GPU's memory. They end with their keeper,
after some time without a job, when another engine is needed, and whenever this process ends: the kernel kills
them.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.inference.copies import CopyPlace
from figa_core.inference.out_of_memory import memory_advice
from figa_core.inference.vllm_python import PYTHON_VARIABLE
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed

_LOGGER = logging.getLogger("figa_core.inference")
# Only the CPU build reads these; a variable that is already set wins.
CPU_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

_SEARCHED_LINES = 400  # of a log, for why a memory was full: a traceback comes after it

WorkerEngine = Mapping[str, object]
"""A worker's arguments: task, model and engine settings, as JSON can hold them."""


class VllmKeeper:
    """Provides vLLM workers of one model at a time, and keeps the last ones for more jobs with that model."""

    def __init__(
        self, python: Path, *, idle_s: float = 120.0, on_start: Callable[[str], None] = lambda _: None
    ) -> None:
        """`on_start` gets the model's path whenever workers are about to start, which takes a while."""
        self._python, self._idle_s, self._on_start = python, idle_s, on_start
        self._workers: list[VllmWorker] = []
        self._busy = False
        self._clock: threading.Timer | None = None
        self._lock = threading.RLock()

    def is_up(self, engine: WorkerEngine) -> bool:
        """Whether a job for this engine would find it running."""
        return any(worker.engine == engine and worker.is_running() for worker in self._workers)

    @contextmanager
    def workers(
        self, engine: WorkerEngine, places: Sequence[CopyPlace], *, threads: int, log_path: Path
    ) -> Iterator[list["VllmWorker"]]:
        """A worker for `engine` at each place; further ones that are up already are left alone.

        They stay up after the context, unless an exception ends that. `threads` is for each of them.

        Raises EngineError if the interpreter cannot be started.
        """
        workers = self._take(engine, places, threads, log_path)
        with ExitStack() as logs:
            try:
                for worker in workers:
                    logs.enter_context(followed(worker.log_path, _LOGGER))
                if new := [worker for worker in workers if not worker.is_running()]:
                    self._on_start(str(engine["model"]))
                    for worker in new:
                        worker.start()
                yield workers
            except BaseException:  # also if the caller stops early: the rest of the job is not needed
                with self._lock:
                    if self._workers[: len(workers)] == workers:
                        self.end()
                raise
        self._leave(workers)

    def end(self) -> None:
        """End all workers, whatever they are doing."""
        with self._lock:
            workers, self._workers, self._busy = self._workers, [], False
            self._stop_clock()
            for worker in workers:
                worker.stop()

    def _take(
        self, engine: WorkerEngine, places: Sequence[CopyPlace], threads: int, log_path: Path
    ) -> list["VllmWorker"]:
        with self._lock:
            self._stop_clock()
            if self._busy or not self.is_up(engine):
                self.end()
            for number, place in enumerate(places):
                if number < len(self._workers) and self._workers[number].is_running():
                    continue
                log = log_path if number == 0 else log_path.with_stem(f"{log_path.stem}-{number + 1}")
                for dead in self._workers[number : number + 1]:
                    dead.stop()
                worker = VllmWorker(self._python, engine, threads, log, place)
                self._workers[number : number + 1] = [worker]
            self._busy = True
            return self._workers[: len(places)]

    def _leave(self, workers: list["VllmWorker"]) -> None:
        with self._lock:
            if self._workers[: len(workers)] == workers:
                self._busy = False
                self._clock = threading.Timer(self._idle_s, self._end_idle, [workers])
                self._clock.daemon = True
                self._clock.start()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end_idle(self, workers: list["VllmWorker"]) -> None:
        with self._lock:
            if self._workers[: len(workers)] == workers and not self._busy:
                _LOGGER.info("ended vLLM after %.0f s without work", self._idle_s)
                self.end()


class VllmWorker:
    """One process with one model loaded; it runs `vllm_worker`."""

    def __init__(
        self,
        python: Path,
        engine: WorkerEngine,
        threads: int,
        log_path: Path,
        place: CopyPlace = CopyPlace(),  # noqa: B008 - frozen
    ) -> None:
        """Its output goes to `log_path`, which is emptied."""
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.write_bytes(b"")
        self.engine, self.log_path, self.place = engine, log_path, place
        self._python, self._threads = python, threads
        self._process: Child | None = None

    def is_running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    def start(self) -> None:
        """Start it, also again; jobs can be sent at once. Raises EngineError if its interpreter cannot be."""
        self.stop()  # one that has ended
        _LOGGER.info("vLLM starts for %s; full log: %s", self.engine["model"], self.log_path)
        environment = child_environment(**ENVIRONMENT, **self.place.environment)
        for name, value in {**CPU_ENVIRONMENT, "OMP_NUM_THREADS": str(self._threads)}.items():
            environment.setdefault(name, value)
        command = [str(self._python), "-m", "figa_core.inference.vllm_worker", json.dumps(self.engine)]
        try:
            self._process = Child(command, self.log_path, environment=environment, takes_input=True)
        except OSError as error:
            raise EngineError(
                f"{self._python}: cannot start the vLLM worker: {error.strerror}. Run `make setup`, "
                f'point {PYTHON_VARIABLE} at an interpreter with vLLM, or set engine = "transformers".'
            ) from error

    def send(self, job: Mapping[str, object]) -> None:
        """Send it a job. If it has ended, nothing happens: `trouble` says so."""
        assert self._process is not None
        self._process.send(json.dumps(job).encode())

    def trouble(self) -> str | None:
        """Why it has ended, its log's end, and what to change if a memory was full; None while it runs."""
        assert self._process is not None
        code = self._process.exit_code
        if code is None:
            return None
        section = "reward" if self.engine.get("task") == "score" else "generation"
        advice = memory_advice(self._process.log_tail(_SEARCHED_LINES), code, section)
        return (
            f"the vLLM worker ended with code {code}{'. ' + advice if advice else '.'} Its log is "
            f"{self.log_path}. Its last lines:\n{self._process.log_tail(15)}"
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


def threads_for(weights_bytes: int, copies: int = 1) -> int:
    """The number of threads of one of several copies, for the CPU build; with a GPU it does not matter.

    For small models more than two threads gain nothing, and slow down a busy machine a lot.
    """
    cores = os.cpu_count() or 1
    return max(1, min(2, cores) // copies if weights_bytes < 200_000_000 else cores // copies)
