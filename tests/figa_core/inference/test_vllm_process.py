"""Keeping a worker up, with an interpreter that replaces vLLM's and starts at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from figa_core.errors import EngineError, InterruptedRunError
from figa_core.inference.copies import CopyPlace
from figa_core.inference.vllm_process import VllmKeeper, VllmWorker
from figa_core.processes import interruption

# Like `vllm_worker` for its keeper: one engine, a job per line, an output file for each.
WORKER = """#!{python}
import json, os, sys
from pathlib import Path
from figa_core.processes.children import die_with_parent
die_with_parent()
engine = json.loads(sys.argv[-1])
print("engine", engine["model"], flush=True)
for line in sys.stdin.buffer:
    job = json.loads(line)
    if job["do"] == "fail":
        sys.exit("out of memory")
    if job["do"] == "write":
        part = Path(job["output"] + ".part")
        part.write_text(f"{{engine['model']}} {{os.getpid()}}")
        part.rename(job["output"])
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    path = tmp_path / "python"
    path.write_text(WORKER.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture
def starts() -> list[str]:
    return []


@pytest.fixture
def keeper(python: Path, starts: list[str]) -> Iterator[VllmKeeper]:
    keeper = VllmKeeper(python, on_start=starts.append)
    yield keeper
    keeper.end()


def wait_for(worker: VllmWorker, path: Path) -> None:
    while not path.exists():
        interruption.check()
        if (trouble := worker.trouble()) is not None:
            raise EngineError(trouble)
        time.sleep(0.01)


class Place:
    """Runs single jobs; returns the model and the pid of the worker that did them."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        self._jobs = 0

    def engine(self, model: str) -> dict[str, object]:
        return {"task": "score", "model": model}

    @contextmanager
    def worker(self, keeper: VllmKeeper, model: str = "reward") -> Iterator[VllmWorker]:
        log = self.folder / "worker.log"
        with keeper.workers(self.engine(model), [CopyPlace()], threads=1, log_path=log) as (worker,):
            yield worker

    def job(self, keeper: VllmKeeper, model: str = "reward", do: str = "write") -> tuple[str, int]:
        self._jobs += 1
        output = self.folder / f"output-{self._jobs}"
        with self.worker(keeper, model) as worker:
            worker.send({"do": do, "output": str(output)})
            wait_for(worker, output)
            name, pid = output.read_text().split()
            return name, int(pid)


@pytest.fixture
def place(python: Path, tmp_path: Path) -> Place:
    return Place(python, tmp_path)


def _gone(pid: int, within_s: float = 20) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_two_jobs_for_one_model_have_one_worker(keeper: VllmKeeper, place: Place, starts: list[str]) -> None:
    first, second = place.job(keeper), place.job(keeper)
    assert first == second
    assert starts == ["reward"]
    assert keeper.is_up(place.engine("reward"))
    assert not keeper.is_up(place.engine("base"))


def test_another_model_ends_the_worker_before_its_own_starts(keeper: VllmKeeper, place: Place) -> None:
    _, first = place.job(keeper)
    name, second = place.job(keeper, "base")
    assert (name, first != second, _gone(first, 0.1)) == ("base", True, True)
    assert place.job(keeper, "reward")[1] not in (first, second)


def test_other_settings_of_the_same_model_are_another_engine(keeper: VllmKeeper, place: Place) -> None:
    place.job(keeper)
    assert not keeper.is_up({**place.engine("reward"), "max_length": 8})


def test_after_the_end_the_next_job_starts_a_new_worker(
    keeper: VllmKeeper, place: Place, starts: list[str]
) -> None:
    _, pid = place.job(keeper)
    keeper.end()
    keeper.end()
    assert _gone(pid, 0.1)
    assert place.job(keeper)[1] != pid
    assert starts == ["reward", "reward"]


def test_a_worker_without_jobs_ends_by_itself(place: Place) -> None:
    keeper = VllmKeeper(place.python, idle_s=0.2)
    _, pid = place.job(keeper)
    assert _gone(pid)
    again = place.job(keeper)
    assert again[1] != pid
    keeper.end()


def test_a_job_stops_the_clock_of_the_previous_one(place: Place) -> None:
    keeper = VllmKeeper(place.python, idle_s=0.5)
    place.job(keeper)
    with place.worker(keeper) as worker:
        time.sleep(1.0)
        assert worker.is_running()
    keeper.end()


def test_a_failed_job_reports_the_reason_and_leaves_no_worker(keeper: VllmKeeper, place: Place) -> None:
    _, pid = place.job(keeper)
    with pytest.raises(EngineError, match=r"code 1(.|\n)*worker\.log(.|\n)*out of memory"):
        place.job(keeper, do="fail")
    assert _gone(pid)
    assert place.job(keeper)[1] != pid


def test_a_worker_that_was_killed_between_two_jobs_is_replaced(keeper: VllmKeeper, place: Place) -> None:
    _, pid = place.job(keeper)
    os.kill(pid, signal.SIGKILL)
    assert _gone(pid)
    assert place.job(keeper)[1] != pid


def test_a_worker_that_has_ended_and_is_started_again_leaves_nothing_open(
    keeper: VllmKeeper, place: Place
) -> None:
    _, pid = place.job(keeper)
    with place.worker(keeper) as worker:
        os.kill(pid, signal.SIGKILL)
        assert _gone(pid)
        worker.start()  # a pipe that stayed open would be a ResourceWarning, and so an error
        worker.send({"do": "write", "output": str(place.folder / "again")})
        wait_for(worker, place.folder / "again")


def test_a_worker_that_is_killed_during_a_job_is_an_error(keeper: VllmKeeper, place: Place) -> None:
    _, pid = place.job(keeper)
    with place.worker(keeper) as worker:
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="ended with code -9"):
            wait_for(worker, place.folder / "never")


def test_a_worker_ends_when_its_user_stops_early(keeper: VllmKeeper, place: Place) -> None:
    """The rest of its job must not run beside the next one."""
    _, pid = place.job(keeper)
    with pytest.raises(GeneratorExit), place.worker(keeper):
        raise GeneratorExit
    assert _gone(pid)


def test_an_interruption_ends_the_wait_and_the_worker(keeper: VllmKeeper, place: Place) -> None:
    _, pid = place.job(keeper)
    interruption.request()
    try:
        with pytest.raises(InterruptedRunError):
            place.job(keeper, do="nothing")
    finally:
        interruption.clear()
    assert _gone(pid)


def test_a_missing_interpreter_is_named(place: Place, tmp_path: Path) -> None:
    keeper = VllmKeeper(tmp_path / "no-python")
    with pytest.raises(EngineError, match=r"no-python.*make setup"), place.worker(keeper):
        pass


PARENT = """
import sys, threading, time
from pathlib import Path
from figa_core.inference.copies import CopyPlace
from figa_core.inference.vllm_process import VllmKeeper
python, folder = map(Path, sys.argv[1:])
keeper = VllmKeeper(python)
def stage(index):
    with keeper.workers({"model": "m"}, [CopyPlace()], threads=1, log_path=folder / "log") as (worker,):
        worker.send({"do": "write", "output": str(folder / f"out{index}")})
        while not (folder / f"out{index}").exists():
            time.sleep(0.01)
for index in range(2):
    thread = threading.Thread(target=stage, args=[index])  # a stage may have its own thread
    thread.start()
    thread.join()
print(*[(folder / f"out{index}").read_text().split()[1] for index in range(2)], flush=True)
time.sleep(60)
"""


@pytest.fixture
def parent(place: Place) -> Iterator[Callable[[], tuple[subprocess.Popen[str], list[int]]]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], list[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(place.python), str(place.folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, list(map(int, process.stdout.readline().split()))

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_worker_outlives_the_thread_of_its_stage_and_dies_with_the_killed_process(
    parent: Callable[[], tuple[subprocess.Popen[str], list[int]]],
) -> None:
    process, (first, second) = parent()
    assert first == second
    process.kill()
    process.wait()
    assert _gone(first)
