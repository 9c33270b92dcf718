"""`figa doctor` beside a running `make serve`, and what a worker of another version is told."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from figa_core.sandbox.build import Sandbox
from flows.cli import app
from flows.server.names import CHECK_WORKER, VERSION_VARIABLE
from flows.server.versions import own_version, save_variable
from tasks.workspace import Workspace
from tests.deployments.conftest import form
from tests.deployments.operation import Operation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_doctor_asks_a_worker_of_each_pool_whether_it_sees_the_workspace(
    serving: Operation, tmp_path: Path
) -> None:
    Workspace(tmp_path).database.create()
    with temporary_settings({PREFECT_API_URL: serving.api_url}):
        done = CliRunner().invoke(app, ["doctor", "--workspace", str(tmp_path), "--wait", "200"])
    assert done.exit_code == 0, done.stdout
    assert f"sees {tmp_path} and writes to it" in done.stdout
    for expected in ("ok       pool cpu", "ok       pool gpu", "a worker on cpu (", "a worker on gpu ("):
        assert expected in done.stdout
    assert f"is online, with figa {own_version()}" in done.stdout
    assert not list(tmp_path.glob(".doctor-*"))
    left = serving.post("/flow_runs/filter", flows={"name": {"any_": [CHECK_WORKER]}}, limit=5)
    assert left == []


async def test_a_run_on_a_worker_of_another_version_fails_at_its_start_in_words(
    serving: Operation, sandbox: Sandbox, tmp_path: Path
) -> None:
    config = form(tmp_path, sandbox, "http://127.0.0.1:9/v1")
    training = {"shards": str(tmp_path / "shards" / "x"), "model": str(sandbox.base_model)}
    with temporary_settings({PREFECT_API_URL: serving.api_url}):
        async with get_client() as client:
            assert await client.read_variable_by_name(VERSION_VARIABLE)
            await save_variable(client, VERSION_VARIABLE, "99.0")
            try:
                runs = [serving.run("figa", config=config), serving.run("train-model", **training)]
                ended = [serving.ended(run) for run in runs]
            finally:
                await save_variable(client, VERSION_VARIABLE, own_version())
    for run in ended:
        assert run["state_type"] == "FAILED"
        assert f"figa {own_version()} runs on" in run["state"]["message"]
        assert "made by figa 99.0" in run["state"]["message"]
    assert not (tmp_path / "workspace").exists()
