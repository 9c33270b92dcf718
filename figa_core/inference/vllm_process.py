"""The vLLM process: started once, kept for following stages with the same model, and ended in time.

A worker (`vllm_worker`) loads one model and then reads jobs, a line of JSON each, from its standard input.
Starting it takes longer than the work of a small stage, so a `VllmKeeper` keeps it between stages, one at
most, because two do not fit into one GPU's memory. It ends with its keeper, after some time without a job,
when another engine is needed, and whenever this process ends: the kernel kills it.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.inference.vllm_python import PYTHON_VARIABLE
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed

_LOGGER = logging.getLogger("figa_core.inference")
# Only the CPU build reads these; a variable that is already set wins.
_CPU_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

WorkerEngine = Mapping[str, object]
"""A worker's arguments: task, model and engine settings, as JSON can hold them."""


class VllmKeeper:
    """Provides vLLM workers, at most one at a time, and keeps the last one for more jobs with its model."""

    def __init__(
        self, python: Path, *, idle_s: float = 120.0, on_start: Callable[[str], None] = lambda _: None
    ) -> None:
        """`on_start` gets the model's path whenever a worker is about to start, which takes a while."""
        self._python, self._idle_s, self._on_start = python, idle_s, on_start
        self._worker: VllmWorker | None = None
        self._busy = False
        self._clock: threading.Timer | None = None
        self._lock = threading.RLock()

    def is_up(self, engine: WorkerEngine) -> bool:
        """Whether a job for this engine would find it running."""
        worker = self._worker
        return worker is not None and worker.engine == engine and worker.is_running()

    @contextmanager
    def worker(self, engine: WorkerEngine, *, threads: int, log_path: Path) -> Iterator["VllmWorker"]:
        """The worker for `engine`. It stays up after the context, unless an exception ends that.

        Raises EngineError if the interpreter cannot be started.
        """
        worker = self._take(engine, threads, log_path)
        with followed(worker.log_path, _LOGGER):
            try:
                if not worker.is_running():
                    self._on_start(str(engine["model"]))
                    worker.start()
                yield worker
            except BaseException:  # also if the caller stops early: the rest of the job is not needed
                with self._lock:
                    if self._worker is worker:
                        self.end()
                raise
        self._leave(worker)

    def end(self) -> None:
        """End the worker, if there is one, whatever it is doing."""
        with self._lock:
            worker, self._worker, self._busy = self._worker, None, False
            self._stop_clock()
            if worker is not None:
                worker.stop()

    def _take(self, engine: WorkerEngine, threads: int, log_path: Path) -> "VllmWorker":
        with self._lock:
            self._stop_clock()
            worker = self._worker
            if worker is None or self._busy or not self.is_up(engine):
                self.end()
                worker = self._worker = VllmWorker(self._python, engine, threads, log_path)
            self._busy = True
            return worker

    def _leave(self, worker: "VllmWorker") -> None:
        with self._lock:
            if self._worker is worker:
                self._busy = False
                self._clock = threading.Timer(self._idle_s, self._end_idle, [worker])
                self._clock.daemon = True
                self._clock.start()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end_idle(self, worker: "VllmWorker") -> None:
        with self._lock:
            if self._worker is worker and not self._busy:
                _LOGGER.info("ended vLLM after %.0f s without work", self._idle_s)
                self.end()


class VllmWorker:
    """One process with one model loaded; it runs `vllm_worker`."""

    def __init__(self, python: Path, engine: WorkerEngine, threads: int, log_path: Path) -> None:
        """Its output goes to `log_path`, which is emptied."""
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.write_bytes(b"")
        self.engine, self.log_path = engine, log_path
        self._python, self._threads = python, threads
        self._process: Child | None = None

    def is_running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    def start(self) -> None:
        """Start it; jobs can be sent at once. Raises EngineError if the interpreter cannot be started."""
        _LOGGER.info("vLLM starts for %s; full log: %s", self.engine["model"], self.log_path)
        environment = child_environment(**_ENVIRONMENT)
        for name, value in {**_CPU_ENVIRONMENT, "OMP_NUM_THREADS": str(self._threads)}.items():
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
        """Send it a job. If it has ended, `wait_for` raises."""
        assert self._process is not None
        self._process.send(json.dumps(job).encode())

    def wait_for(self, path: Path) -> None:
        """Return when `path` exists. Raises EngineError with the end of its log if the worker ends first."""
        assert self._process is not None
        if not self._process.wait_until(path.exists):
            raise EngineError(
                f"the vLLM worker ended with code {self._process.exit_code}; its log is {self.log_path}. "
                f"Its last lines:\n{self._process.log_tail(15)}"
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


def threads_for(weights_bytes: int) -> int:
    """The number of threads for the CPU build; with a GPU it does not matter.

    For small models more than two threads gain nothing, and slow down a busy machine a lot.
    """
    cores = os.cpu_count() or 1
    return min(2, cores) if weights_bytes < 200_000_000 else cores
