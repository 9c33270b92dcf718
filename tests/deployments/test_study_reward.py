"""The deployment `study-reward`: it says the price and fails, or goes on where that was approved."""

from pathlib import Path

import pytest

from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.deployments.conftest import form
from tests.deployments.operation import Operation

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(3600)]


def test_the_reviser_is_asked_once_that_is_approved_and_nothing_before(
    serving: Operation, sandbox: Sandbox, tmp_path: Path
) -> None:
    quantiles = {
        "response_reward_below": "q0.5",
        "reference_reward_above": "q0.1",
        "reward_gap_above": "q0.1",
    }
    with TeacherProcess() as teacher:
        config = form(
            tmp_path,
            sandbox,
            teacher.base_url,
            filter=quantiles,
            compare={"seeds": [0]},
            prompts={"limit": 160, "held_out_share": 0.2},
            generation={"max_tokens": 60},
            training={"processes": 1, "max_steps": 2},
        )
        asks = serving.ended(serving.run("study-reward", config=config), timeout_s=1500)
        assert asks["state_type"] == "FAILED"
        assert "calls to sandbox-teacher, counted from the open rows" in asks["state"]["message"]
        assert "start the run again with `approved`" in asks["state"]["message"]
        assert teacher.requests() == 0
        run = serving.run("study-reward", config=config, approved=True)
        ended = serving.ended(run, timeout_s=1800)
        assert teacher.requests() > 0
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    shown = serving.artifacts(run)
    assert "The verifier gives" in shown["figa-study"]["data"]
    assert "-reward" in shown["figa-study-link"]["data"]
