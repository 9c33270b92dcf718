"""Starts lm-eval in its own environment and passes its results on, task by task. It imports no torch."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from figa_core.errors import EngineError, EvaluationError
from figa_core.harness.environment import HarnessPython
from figa_core.harness.request import VLLM, Request
from figa_core.harness.results import BenchmarkResult, read_result
from figa_core.inference.out_of_memory import memory_advice
from figa_core.inference.vllm_process import CPU_ENVIRONMENT, ENVIRONMENT
from figa_core.processes import interruption
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed

_LOGGER = logging.getLogger("figa_core.harness")
_POLL_S = 0.1
_SEARCHED_LINES = 400  # of a log, for why a memory was full
_FETCHED = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_UNAVAILABLE = (
    *("OfflineModeIsEnabled", "ConnectionError", "LocalEntryNotFoundError", "DatasetNotFoundError"),
    *("ConnectTimeout", "ReadTimeout", "FileNotFoundError", "DataFilesNotFoundError"),
)
_TEXT_MAX = 400


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """A task without results: its name in lm-eval, and why, with what to do."""

    task: str
    message: str


def run_harness(
    request: Request,
    harness: HarnessPython,
    *,
    download: bool,
    threads: int,
    log_path: Path,
    on_result: Callable[[BenchmarkResult], None],
) -> list[TaskFailure]:
    """Evaluate the request's tasks; `on_result` gets each result as soon as it is there.

    A result that a killed run has left is passed on without evaluating the task again. A task that fails does
    not end the others. `download`: data of tasks may be fetched from the Hugging Face hub. The worker's
    output is appended to `log_path`, and it dies with this process.

    Raises:
        EngineError: the model cannot be loaded, or the worker died; the results until then were passed on.
        InterruptedRunError: somebody asked to stop.
    """
    left = _left_over(request, on_result)
    if not left.tasks:
        return []
    for key in left.tasks.values():
        left.failure(key).unlink(missing_ok=True)
    return _run(left, harness, _environment(download, threads), log_path, on_result)


def _left_over(request: Request, on_result: Callable[[BenchmarkResult], None]) -> Request:
    """Pass on whole results of an earlier run; returns the request for the others."""
    missing = {}
    for task, key in request.tasks.items():
        try:
            found = read_result(request.result(key).read_bytes(), key=key, source=str(request.result(key)))
        except FileNotFoundError:
            missing[task] = key
        except (OSError, EvaluationError) as error:
            _LOGGER.warning("%s", error)
            request.result(key).unlink(missing_ok=True)
            missing[task] = key
        else:
            on_result(found)
            request.result(key).unlink()
    return replace(request, tasks=missing)


def _environment(download: bool, threads: int) -> dict[str, str]:
    environment = child_environment(**ENVIRONMENT, HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    if download:
        inherited = child_environment()
        for name in _FETCHED:  # what the user has set stays
            environment.pop(name)
            environment |= {name: inherited[name]} if name in inherited else {}
    for name, value in {**CPU_ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}.items():
        environment.setdefault(name, value)
    return environment


def _run(
    request: Request,
    harness: HarnessPython,
    environment: dict[str, str],
    log_path: Path,
    on_result: Callable[[BenchmarkResult], None],
) -> list[TaskFailure]:
    names = ", ".join(request.tasks)
    _LOGGER.info("lm-eval starts for %s (%s); full log: %s", request.model, names, log_path)
    command = [str(harness.python), "-m", "figa_core.harness.worker", "--request", str(request.path)]
    arrived = _Arrived(request, on_result)
    with followed(log_path, _LOGGER), interruption.doing("lm-eval stops; finished tasks are stored"):
        try:
            request.write()
            child = Child(command, log_path, environment=environment)
        except OSError as error:
            raise EngineError(
                f"{harness.python}: cannot start lm-eval: {error.strerror or error}."
            ) from error
        try:
            child.wait_until(arrived.read, poll_s=_POLL_S)
        finally:
            child.kill()
    if arrived.missing:
        raise _died(request, arrived, child, log_path)
    return arrived.failures


class _Arrived:
    """Looks for new files of the worker."""

    def __init__(self, request: Request, on_result: Callable[[BenchmarkResult], None]) -> None:
        self._request, self._on_result = request, on_result
        self.missing = dict(request.tasks)
        self.failures: list[TaskFailure] = []

    def read(self) -> bool:
        """Pass on what is new; whether that was all."""
        for task, key in list(self.missing.items()):
            result, failure = self._request.result(key), self._request.failure(key)
            if result.is_file():
                self._take(task, key, result)
                result.unlink()
            elif failure.is_file():
                self.failures.append(_failure(task, json.loads(failure.read_bytes())))
                failure.unlink()
            else:
                continue
            del self.missing[task]
        return not self.missing

    def _take(self, task: str, key: str, path: Path) -> None:
        try:
            found = read_result(path.read_bytes(), key=key, source=str(path))
        except EvaluationError as error:
            self.failures.append(TaskFailure(task, str(error)))
        else:
            self._on_result(found)


def _failure(task: str, found: dict[str, str]) -> TaskFailure:
    kind, message = found["kind"], found["message"]
    if len(message) > _TEXT_MAX:
        message = f"{message[:_TEXT_MAX]} …"
    if kind in _UNAVAILABLE or any(name in message for name in _UNAVAILABLE):
        return TaskFailure(
            task,
            f"its data cannot be loaded here ({kind}: {message}). Fetch it once where there is a network, "
            "with evaluation.harness.download = true, and copy the cache (HF_HOME).",
        )
    if "marked as unsafe" in message:
        return TaskFailure(
            task, "it runs code that the model writes, without any confinement; this is not done."
        )
    return TaskFailure(task, f"{kind}: {message}.")


def _died(request: Request, arrived: _Arrived, child: Child, log_path: Path) -> EngineError:
    code = child.exit_code
    by_vllm = request.engine == VLLM
    advice = memory_advice(child.log_tail(_SEARCHED_LINES), code, "generation") if by_vllm else None
    before = "".join(f" {failure.task} had failed: {failure.message}" for failure in arrived.failures)
    return EngineError(
        f"lm-eval ended with code {code} before it had evaluated {', '.join(arrived.missing)} with "
        f"{request.model}{'. ' + advice if advice else '.'}{before} Its log is {log_path}. Its last lines:\n"
        f"{child.log_tail(15)}"
    )
