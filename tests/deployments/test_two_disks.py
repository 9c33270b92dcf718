"""Two hosts that share nothing but a network and a store: S3, served by moto."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from figa_core.artifacts.store import Store
from figa_core.sandbox.build import Sandbox
from tests.deployments.conftest import form
from tests.deployments.two_hosts import TwoHosts
from tests.figa_core.artifacts.s3 import MISSING, environment
from tests.figa_core.training.nodes.namespaces import reason_against, two_nodes

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(1800)]

STEPS = 3000  # long enough for a checkpoint to be sent
URL = "s3://runs/assistant"
PORT = 5000


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHosts]:
    for module in ("s3fs", "moto.server"):
        pytest.importorskip(module, reason=MISSING)
    if (reason := reason_against()) is not None:
        pytest.skip(reason)
    with two_nodes() as nodes:
        variables = environment(f"http://{nodes[0].address}:{PORT}")
        started = TwoHosts(nodes, tmp_path_factory.mktemp("hosts"), **variables)
        try:
            started.start_process("s3", 0, "moto.server", "--host", nodes[0].address, "--port", str(PORT))
            started.start()
            started.start_process("bucket", 0, "tests.figa_core.artifacts.s3", "runs")
            yield started
        finally:
            started.end()


def test_a_run_goes_through_the_store_and_retry_continues_on_a_machine_with_an_empty_disk(
    hosts: TwoHosts, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "workspace"
    disks = [tmp_path / "disk-1", tmp_path / "disk-2"]
    for directory in (workspace, *disks):
        directory.mkdir()
    config = form(
        tmp_path,
        sandbox,
        hosts.teacher_url,
        training={"max_steps": STEPS, "checkpoint_steps": 100},
        generation={"workers": 1, "engine": "transformers"},
        storage={"artifacts": URL},
    )
    hosts.start_worker("gpu", 1, before=f"mount --bind {disks[0]} {workspace}")
    run = hosts.run("figa", config=config)
    for name, value in environment(f"http://{hosts.nodes[0].address}:{PORT}").items():
        monkeypatch.setenv(name, value)
    store = Store(URL)
    hosts.wait_for(lambda: any(n.endswith("whole.json") for n in store.listing("trainings")), 900)
    assert not list(workspace.glob("trainings/*/checkpoints"))  # they are on the other disk only

    hosts.lose("worker-gpu")
    ended = hosts.ended(run, 600)
    assert ended["state_type"] == "FAILED", ended["state"]["message"]

    hosts.start_worker("gpu", 1, before=f"mount --bind {disks[1]} {workspace}")
    hosts.retry(run)
    hosts.in_state(run, "Running")
    ended = hosts.ended(run, 1200)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]

    lines = [line["message"] for child in hosts.children_of(run) for line in hosts.logs(child["id"])]
    assert any("continues from the checkpoint of step" in line for line in lines), lines
    assert any("resumes after step" in line for line in lines)
    [metrics] = workspace.glob("trainings/*/metrics.jsonl")
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))
    assert metrics.with_name("manifest.json").exists()
    assert metrics.with_name("model").is_dir()
    paid = [json.loads(line)["message_sha256"] for line in hosts.requests.read_text().splitlines()]
    assert len(paid) == len(set(paid)) > 0
    assert not list(disks[1].glob("**/*.duckdb"))  # only the owner opens the database
