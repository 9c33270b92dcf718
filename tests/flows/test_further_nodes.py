"""A training on two machines by Prefect: each has a worker in a network of its own."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.deploy import ROOT, deploy
from figa_core.chat.format import load_chat_format
from figa_core.sandbox.build import Sandbox
from flows.server.names import GPU_POOL, TRAIN_MODEL
from flows.server.process import PrefectServer
from tests.figa_core.training.conftest import random_pair
from tests.figa_core.training.jobs import write_set
from tests.figa_core.training.nodes.namespaces import HOST, Node, reason_against, two_nodes

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(1500)]

WAIT_S = 500.0
ENDS_WITHIN_S = 60.0
LONG = 100_000
_NODE_1 = re.compile(r"node 1 \(test-node-([01])\) trains")
_ALARMS = ("unchanged_nll_rise", "kl_from_base_excess", "end_of_turn_share")


class Cluster:
    """A Prefect server, and a worker on the pool `gpu` on each node."""

    def __init__(self, api_url: str, nodes: tuple[Node, Node], directory: Path) -> None:
        self.api = httpx.Client(base_url=api_url, timeout=60)
        self._nodes, self._directory = nodes, directory
        self._workers: list[subprocess.Popen[bytes]] = []

    def start_workers(self, api_url: str) -> None:
        variables = {"PREFECT_API_URL": api_url, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        for node in self._nodes:
            with (self._directory / f"worker{node.number}.log").open("wb") as log:
                command = node.command(sys.executable, "-m", "deployments.worker", "gpu")
                started = subprocess.Popen(
                    command, env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
                )
            self._workers.append(started)
        self.until(lambda: len(self._online()) == 2)

    def _online(self) -> list[dict[str, Any]]:
        found = self.post(f"/work_pools/{GPU_POOL}/workers/filter", limit=10, offset=0)
        return [worker for worker in found if worker["status"] == "ONLINE"]

    def post(self, route: str, **body: Any) -> Any:
        response = self.api.post(route, json=body)
        response.raise_for_status()
        return response.json()

    def train(self, workspace: Path, sandbox: Sandbox, **training: object) -> str:
        deployment = self.api.get(f"/deployments/name/{TRAIN_MODEL}").json()
        settings = {"nodes": 2, "dtype": "float32", "pairs_per_step": 4, "checkpoint_steps": 2, "seed": 1}
        parameters = {
            "shards": str(workspace / "shards" / "set"),
            "model": str(sandbox.base_model),
            "training": {**settings, "epochs": LONG, **training},
            "alarms": dict.fromkeys(
                ("unchanged_nll_rise", "kl_from_base_excess", "end_of_turn_share"), "none"
            ),
        }
        route = f"/deployments/{deployment['id']}/create_flow_run"
        return self.post(route, parameters=parameters, state={"type": "SCHEDULED"})["id"]

    def run(self, run: str) -> dict[str, Any]:
        return self.api.get(f"/flow_runs/{run}").json()

    def further(self, run: str) -> list[dict[str, Any]]:
        """The runs that a run started, the latest last."""
        wanted = {"parent_flow_run_id": {"any_": [run]}}
        return self.post("/flow_runs/filter", flow_runs=wanted, sort="START_TIME_ASC", limit=10)

    def ended(self, run: str, timeout_s: float = WAIT_S) -> dict[str, Any]:
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        self.until(lambda: self.run(run)["state_type"] in final, timeout_s)
        return self.run(run)

    def logs(self, run: str) -> str:
        found = self.post("/logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200)
        return "\n".join(line["message"] for line in found)

    def until(self, happened: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if happened():
                    return
            logs = [path.read_text()[-3000:] for path in self._directory.glob("worker*.log")]
            assert time.monotonic() < deadline, "\n".join(logs)
            time.sleep(0.2)

    def ranks_on(self, machine: int) -> list[psutil.Process]:
        below = psutil.Process(self._workers[machine].pid).children(recursive=True)
        return [each for each in below if "figa_core.training" in each.cmdline()]

    def machine_of_node_1(self, run: str) -> int:
        """Its number; either worker may have taken the run."""
        self.until(lambda: any(_NODE_1.search(self.logs(each["id"])) for each in self.further(run)))
        found = _NODE_1.search(self.logs(self.further(run)[-1]["id"]))
        assert found
        return int(found[1])

    def end(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                for each in psutil.Process(worker.pid).children(recursive=True):
                    each.kill()
            worker.kill()
            worker.wait()
        self.api.close()


@contextlib.contextmanager
def forwarded(port: int) -> Iterator[int]:
    """A port on the bridge that leads to one on loopback, where our server listens."""
    server = socket.create_server((HOST, 0))

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def carry(near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=pass_on, args=(far, near), daemon=True)
            back.start()
            pass_on(near, far)
            back.join()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=carry, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if (reason := reason_against()) is not None:
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("cluster")
    with two_nodes() as nodes, PrefectServer(directory / "prefect") as server:
        server.wait()
        port = int(server.ui_url.rpartition(":")[2])
        with forwarded(port) as there, temporary_settings({PREFECT_API_URL: server.api_url}):
            asyncio.run(_deploy())
            made = Cluster(server.api_url, nodes, directory)
            try:
                made.start_workers(f"http://{HOST}:{there}/api")
                yield made
            finally:
                made.end()


async def _deploy() -> None:
    await deploy()
    async with get_client() as client:
        await client.update_work_pool(GPU_POOL, WorkPoolUpdate(concurrency_limit=2))


@pytest.fixture
def workspace(tmp_path: Path, sandbox: Sandbox) -> Path:
    rng, chat = np.random.default_rng(0), load_chat_format(sandbox.base_model)
    pairs = [random_pair(index, rng) for index in range(24)]
    shards = tmp_path / "shards" / "set"
    write_set(shards, pairs, tokenizer_hash=chat.tokenizer_hash, template_hash=chat.template_hash)
    return tmp_path


def test_a_run_on_each_node_trains_one_model(cluster: Cluster, workspace: Path, sandbox: Sandbox) -> None:
    run = cluster.train(workspace, sandbox, max_steps=4)
    ended = cluster.ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    [further] = cluster.further(run)
    assert cluster.ended(further["id"])["state_type"] == "COMPLETED"
    assert further["name"].endswith("node 1 of 2")
    assert cluster.machine_of_node_1(run) in (0, 1)
    assert "ZeRO-2 on 2 rank(s)" in cluster.logs(run)
    assert len(list(workspace.glob("trainings/*/model/model.safetensors"))) == 1


def test_a_killed_rank_of_another_node_ends_both_runs_with_the_cause_and_a_retry_resumes(
    cluster: Cluster, workspace: Path, sandbox: Sandbox
) -> None:
    run = cluster.train(workspace, sandbox, max_steps=LONG)
    cluster.until(lambda: list(workspace.glob("trainings/*/checkpoints/*/whole.json")))
    machine = cluster.machine_of_node_1(run)
    at = time.monotonic()
    for rank in cluster.ranks_on(machine):
        rank.kill()
    ended = cluster.ended(run)
    assert time.monotonic() - at < ENDS_WITHIN_S
    cause = f"rank 1 on node 1 (test-node-{machine}): it ended without a message"
    assert ended["state_type"] == "FAILED"
    assert cause in ended["state"]["message"]
    [further] = cluster.further(run)
    assert cause in cluster.ended(further["id"])["state"]["message"]

    state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
    assert cluster.post(f"/flow_runs/{run}/set_state", state=state)["status"] == "ACCEPT"
    cluster.until(lambda: "resumes after step" in cluster.logs(run))
