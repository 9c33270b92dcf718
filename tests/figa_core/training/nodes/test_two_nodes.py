"""A training on two nodes with their own addresses: the same losses, and what ends it is said by name."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import read_metrics
from figa_core.training.nodes.board import NAME
from tests.figa_core.training.jobs import ROOT, changed, last_step, ranks_of, training_job, wait_until
from tests.figa_core.training.nodes.namespaces import Node, reason_against, two_nodes

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(900)]

START_S = 400.0
ENDS_WITHIN_S = 60.0
STEPS = 12
LONG = 300
NO_ALARMS = {"unchanged_nll_rise": None, "kl_from_base_excess": None, "end_of_turn_share": None}


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Node, Node]]:
    if (reason := reason_against()) is not None:
        pytest.skip(reason)
    with two_nodes() as made:
        yield made


@pytest.fixture(scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, shards_dir: Path) -> list[float]:
    """The losses of a training on one node with two ranks."""
    directory = tmp_path_factory.mktemp("one-node")
    job = changed(training_job(model_dir, shards_dir, directory / "out"), steps=LONG, **NO_ALARMS)
    assert job.training.ranks == 2
    run_training(job, log_path=directory / "log")
    return losses_of(job)


def losses_of(job: TrainingJob) -> list[float]:
    """By step, each once."""
    metrics = list(read_metrics(job.metrics_path))
    assert [each.step for each in metrics] == list(range(1, len(metrics) + 1))
    return [each.loss for each in metrics]


class Training:
    """A training in a workspace, whose nodes are started as a user starts them."""

    def __init__(self, job: TrainingJob, nodes: tuple[Node, Node], directory: Path) -> None:
        self.job, self.nodes, self.directory = job, nodes, directory
        self._started: list[subprocess.Popen[str]] = []

    def first(self) -> subprocess.Popen[str]:
        wanted = self.directory / "wanted.json"
        wanted.write_text(self.job.model_dump_json())
        script = Path(__file__).with_name("first_node.py")
        arguments = [wanted, self.directory / NAME, self.directory / "first.log"]
        return self.start(0, sys.executable, str(script), *map(str, arguments))

    def further(self, *, code: Path = ROOT, before: str = "true") -> subprocess.Popen[str]:
        command = ("-m", "flows.cli", "join", "--workspace", str(self.directory), "--node", "1")
        return self.start(1, sys.executable, *command, code=code, before=before)

    def start(
        self, node: int, *command: str, code: Path = ROOT, before: str = "true"
    ) -> subprocess.Popen[str]:
        environment = f"export PYTHONPATH={code} OMP_NUM_THREADS=1"
        started = subprocess.Popen(
            self.nodes[node].command(*command, before=f"{environment} && {before}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
        )
        self._started.append(started)
        return started

    def until_step(self, step: int) -> None:
        def is_there() -> bool:
            return any(each.step >= step for each in read_metrics(self.job.metrics_path))

        assert wait_until(is_there, START_S), [each.poll() for each in self._started]

    def end(self) -> None:
        for process in self._started:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill it with its children, and forget what it said."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in psutil.Process(process.pid).children(recursive=True):
            each.kill()
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def said_by(process: subprocess.Popen[str], timeout_s: float = START_S) -> str:
    """All that it printed, once it has ended."""
    return process.communicate(timeout=timeout_s)[0]


@pytest.fixture
def training(
    model_dir: Path, shards_dir: Path, nodes: tuple[Node, Node], tmp_path: Path
) -> Iterator[Training]:
    job = training_job(model_dir, shards_dir, tmp_path / "out")
    job = changed(job, nodes=2, processes=1, steps=STEPS, checkpoint_steps=4, **NO_ALARMS)
    made = Training(job, nodes, tmp_path)
    yield made
    made.end()


def test_two_nodes_train_as_one_with_as_many_ranks(training: Training, one_node: list[float]) -> None:
    first, further = training.first(), training.further()
    said = said_by(first)
    assert first.returncode == 0, said
    assert losses_of(training.job) == pytest.approx(one_node[:STEPS], abs=1e-6)
    further.terminate()
    heard = said_by(further)
    assert f"node 1 (test-node-1) trains {training.job.training_id} with node 0 at 10.231.77.10:" in heard
    assert "waits for the next training" in heard


def test_torchrun_on_each_node_does_the_same(training: Training, one_node: list[float]) -> None:
    job = training.job
    job.output.mkdir()
    path = job.output / "job.json"
    path.write_text(job.model_dump_json())
    address = ("--master-addr", training.nodes[0].address, "--master-port", "29500")
    command = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes",
        "2",
        "--nproc-per-node",
        "1",
        *address,
    )
    rank = ("-m", "figa_core.training", "--job", str(path))
    started = [training.start(node, *command, "--node-rank", str(node), *rank) for node in (0, 1)]
    said = [said_by(each) for each in started]
    assert [each.returncode for each in started] == [0, 0], said
    assert losses_of(job) == pytest.approx(one_node[:STEPS], abs=1e-6)


def test_a_killed_node_ends_the_training_with_its_name_and_a_retry_resumes(
    training: Training, one_node: list[float]
) -> None:
    training.job = job = changed(training.job, steps=100 * LONG)
    first, further = training.first(), training.further()
    training.until_step(6)
    at = time.monotonic()
    kill(further)
    said = said_by(first)
    assert time.monotonic() - at < ENDS_WITHIN_S
    assert first.returncode == 1
    assert "rank 1 on node 1 (test-node-1): it ended without a message" in said
    assert wait_until(lambda: not ranks_of(job), 10)
    resumed_after = last_step(job)
    assert resumed_after >= 4

    training.first()
    training.further()
    training.until_step(resumed_after + 3)
    steps_text = f"resumes after step {resumed_after} of {100 * LONG}"
    assert steps_text in (training.directory / "first.log").read_text()
    losses = losses_of(job)[:LONG]
    assert losses == pytest.approx(one_node[: len(losses)], abs=1e-6)


def test_a_node_that_loses_its_network_ends_the_training_on_both(training: Training) -> None:
    training.job = changed(training.job, steps=100 * LONG)
    first, further = training.first(), training.further()
    training.until_step(3)
    at = time.monotonic()
    training.nodes[1].unplug()
    try:
        said = said_by(first)
        assert time.monotonic() - at < ENDS_WITHIN_S
        assert "rank 1 on node 1 (test-node-1): it ended without a message" in said
        assert wait_until(lambda: not ranks_of(training.job), ENDS_WITHIN_S)
        assert further.poll() is None, "it waits for the next training"
    finally:
        training.nodes[1].plug_in()


def test_a_node_that_is_asked_to_stop_ends_the_training_with_a_checkpoint(training: Training) -> None:
    training.job = changed(training.job, steps=100 * LONG, checkpoint_steps=100 * LONG)
    first, further = training.first(), training.further()
    training.until_step(3)
    further.terminate()
    said = said_by(first)
    assert "stopped with a checkpoint: node 1 (test-node-1) was asked to stop" in said
    assert last_step(training.job) == len(losses_of(training.job))
    said_by(further)
    assert further.returncode == 143


def test_a_node_with_other_code_is_refused_by_name(training: Training, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for package in ("figa_core", "tasks", "flows"):
        shutil.copytree(ROOT / package, other / package)
    with (other / "figa_core" / "training" / "loop.py").open("a") as file:
        file.write("# another version\n")
    first, _ = training.first(), training.further(code=other)
    said = said_by(first)
    assert first.returncode == 1
    assert "node 1 (test-node-1) has another version of the code of figa" in said
    assert not training.job.metrics_path.exists()


def test_a_node_that_does_not_see_the_workspace_is_named_with_the_path(
    training: Training, tmp_path: Path
) -> None:
    """It sees a copy of the training's directory, as it was before."""
    job, hidden, copy = training.job, tmp_path / "out", tmp_path / "copy"
    hidden.mkdir()
    (hidden / "job.json").write_text(job.model_dump_json())
    shutil.copytree(hidden, copy)
    first = training.first()
    training.further(before=f"mount --bind {copy} {hidden}")
    said = said_by(first)
    assert first.returncode == 1
    assert f"node 1 (test-node-1) does not see {hidden}/seen-by-all-nodes-" in said
    assert "which node 0 (test-node-0) does" in said
    assert not job.metrics_path.exists()
