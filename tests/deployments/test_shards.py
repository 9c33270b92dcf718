"""Shards dealt to runs on the pool `gpu` of a real `make serve`."""

import os
import signal
from pathlib import Path

import pytest

from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.deployments.conftest import form
from tests.deployments.operation import Operation

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(900)]


def test_a_killed_worker_costs_its_shard_only_and_no_row_passes_through_prefect(
    serving: Operation, sandbox: Sandbox, tmp_path: Path
) -> None:
    dealing = {"workers": 2, "rows_per_shard": 10, "engine": "transformers"}
    with TeacherProcess() as teacher:
        config = form(tmp_path, sandbox, teacher.base_url, generation=dealing)
        run = serving.run("build-dataset", config=config)
        begun = serving.wait_for(lambda: _begun(tmp_path), 240)
        os.kill(int(begun.split()[1]), signal.SIGKILL)  # "process 123 on host"
        ended = serving.ended(run, 600)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]

    children = serving.children_of(run)
    states = {child["name"]: child["state_type"] for child in children}
    assert states["workspace: generate, worker 1"] == "CRASHED"
    assert states["workspace: generate, worker 2"] in {"COMPLETED", "RUNNING"}
    assert "workspace: score, worker 1" in states
    assert {child["work_pool_name"] for child in children} == {"gpu"}
    names = {key for child in children for key in child["parameters"]}
    assert names == {"workspace", "folder", "number", "artifacts"}
    lines = [line["message"] for line in serving.logs(run)]
    assert any("its rows go to the others" in line for line in lines)
    assert not list(tmp_path.glob("workspace/scratch/*/dealt-*/**/*.parquet"))


def _begun(directory: Path) -> str | None:
    found = list(directory.glob("workspace/scratch/generate/dealt-*/worker-0/begun"))
    return found[0].read_text() if found else None
