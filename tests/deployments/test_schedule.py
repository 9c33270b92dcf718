"""A schedule that fires more often than its runs end: they wait for each other."""

from pathlib import Path

import pytest

from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.deployments.conftest import form
from tests.deployments.operation import Operation

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(900)]


def test_a_run_waits_for_the_one_before_it(serving: Operation, sandbox: Sandbox, tmp_path: Path) -> None:
    deployment = serving.deployment("build-dataset")
    route = f"/deployments/{deployment['id']}"
    with TeacherProcess(latency_s=6) as teacher:
        config = form(tmp_path, sandbox, teacher.base_url, workspace={"name": "scheduled"})
        config["revision"]["max_concurrency"] = 2
        every_minute = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
        changed = {"parameters": {"config": config}, "schedules": [every_minute]}
        assert serving.api.patch(route, json=changed).is_success
        try:
            first = serving.wait_for(lambda: _run_in(serving, deployment["id"], "Running"), 180)
            waits = serving.wait_for(lambda: _run_in(serving, deployment["id"], "AwaitingConcurrencySlot"))
            assert serving.flow_run(first)["state_type"] == "RUNNING"
            assert serving.ended(first, 240)["state_type"] == "COMPLETED"
            calls = teacher.requests()
            assert serving.ended(waits, 240)["state_type"] == "COMPLETED"
            assert teacher.requests() == calls
        finally:
            off = {"schedules": [], "parameters": deployment["parameters"]}
            assert serving.api.patch(route, json=off).is_success


def _run_in(serving: Operation, deployment: str, state: str) -> str | None:
    wanted = {"state": {"name": {"any_": [state]}}, "deployment_id": {"any_": [deployment]}}
    found = serving.post("/flow_runs/filter", flow_runs=wanted, limit=5, sort="EXPECTED_START_TIME_ASC")
    return found[0]["id"] if found else None
