"""Two hosts with networks of their own: server and CPU worker on one, the worker with the GPU on the other.

Each host's cable is unplugged while a training runs, for a while and for good.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from figa_core.sandbox.build import Sandbox
from figa_core.storage.runs import all_runs
from figa_core.storage.summary import counts
from tasks.workspace import Workspace
from tests.deployments.conftest import form
from tests.deployments.two_hosts import TwoHosts
from tests.figa_core.training.nodes.namespaces import reason_against, two_nodes

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(1800)]

AWAY_S = float(os.environ.get("FIGA_TEST_AWAY_S", "120"))
"""How long a cable is unplugged. Below 90 s (`automations.MISSED_S`) the server does not notice."""
TRUE_WITHIN_S = 120.0
NOTICED_WITHIN_S = 400.0  # 90 s without a sign of life, 150 s to come back, and a slow machine
STEPS = 400


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHosts]:
    if (reason := reason_against()) is not None:
        pytest.skip(reason)
    with two_nodes() as nodes:
        started = TwoHosts(nodes, tmp_path_factory.mktemp("hosts"))
        try:
            started.start()
            started.start_worker("gpu", 1)
            yield started
        finally:
            started.end()


class Run:
    """A `figa` run on the sandbox, whose training is long enough for a cable to be unplugged."""

    def __init__(self, hosts: TwoHosts, config: dict[str, Any]) -> None:
        self._hosts = hosts
        self.workspace = Path(config["workspace"]["path"])
        self._asked_before = self._asked()
        self.id = hosts.run("figa", config=config)

    def until_it_trains(self) -> str:
        """The training's run, once a checkpoint exists."""
        self._hosts.wait_for(lambda: list(self.workspace.glob("trainings/*/checkpoints/*/whole.json")), 600)
        [training] = self._hosts.children_of(self.id)
        assert self._hosts.is_below("worker-gpu", int(training["infrastructure_pid"]))
        return training["id"]

    def is_whole(self) -> None:
        """Every kept row was paid for and weighted once, and every step of the training was made once."""
        workspace = Workspace(self.workspace)
        [stored] = all_runs(workspace.database)
        found = counts(workspace.database, stored.run_id, stored.found.generator)
        paid = self._asked()[len(self._asked_before) :]
        assert len(paid) == len(set(paid)) == found.kept > 0
        assert found.revised + sum(found.not_revised.values()) == found.kept
        assert found.weighted + sum(found.not_weighted.values()) == found.admitted
        [shards] = self.workspace.glob("shards/*/manifest.json")
        rows = [id_ for file in shards.parent.glob("*.parquet") for id_ in _pair_ids(file)]
        assert len(rows) == len(set(rows)) == found.weighted > 0
        [metrics] = self.workspace.glob("trainings/*/metrics.jsonl")
        steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
        assert steps == sorted(set(steps))
        assert steps[-1] == STEPS
        assert metrics.with_name("manifest.json").exists()

    def _asked(self) -> list[str]:
        if not self._hosts.requests.exists():
            return []
        return [json.loads(line)["message_sha256"] for line in self._hosts.requests.read_text().splitlines()]


def _pair_ids(shard: Path) -> list[str]:
    return pq.read_table(shard, columns=["pair_id"]).column(0).to_pylist()


@pytest.fixture
def run(hosts: TwoHosts, sandbox: Sandbox, tmp_path: Path) -> Run:
    training = {"max_steps": STEPS, "checkpoint_steps": 5}
    return Run(hosts, form(tmp_path, sandbox, hosts.teacher_url, training=training))


@pytest.mark.parametrize("cut", [1, 0], ids=["the host with the GPU", "the host with the server"])
def test_a_cable_that_is_plugged_in_again_ends_nothing(hosts: TwoHosts, run: Run, cut: int) -> None:
    training = run.until_it_trains()
    hosts.nodes[cut].unplug()
    time.sleep(AWAY_S)
    hosts.nodes[cut].plug_in()
    _states_become_true(hosts, run.id, training)
    for each in (run.id, training):
        ended = hosts.in_state(each, "Completed", "Failed", timeout_s=900)
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    run.is_whole()


def _states_become_true(hosts: TwoHosts, *runs: str) -> None:
    """From two minutes after a cable is plugged in on: a state that is true before may be an old one."""
    deadline = time.monotonic() + TRUE_WITHIN_S
    while time.monotonic() < deadline:
        if all(hosts.flow_run(run)["state_name"] == "Completed" for run in runs):
            return
        time.sleep(1.0)
    hosts.wait_for(lambda: hosts.states_are_true(*runs), 20)  # a run may end between two looks


def test_a_host_that_is_gone_for_good_is_told_and_retry_continues_on_another(
    hosts: TwoHosts, run: Run
) -> None:
    training = run.until_it_trains()
    hosts.nodes[1].unplug()
    hosts.lose("worker-gpu")
    ended = hosts.ended(run.id, NOTICED_WITHIN_S)
    assert ended["state_type"] == "FAILED"
    assert "No sign of life" in ended["state"]["message"]
    assert hosts.flow_run(training)["state_name"] == "Crashed"

    hosts.nodes[1].plug_in()
    hosts.start_worker("gpu", 1)
    hosts.retry(run.id)
    hosts.in_state(run.id, "Running")
    assert hosts.ended(run.id, 900)["state_type"] == "COMPLETED"
    lines = [line["message"] for child in hosts.children_of(run.id) for line in hosts.logs(child["id"])]
    assert any("resumes after step" in line for line in lines)
    run.is_whole()
