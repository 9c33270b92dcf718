"""The deployment `compare-methods`: its trainings run on the GPU pool, and one that diverges is a row."""

import json
from pathlib import Path

import pytest

from figa_core.rl.environments import OF_TRL, why_missing
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.deployments.conftest import form
from tests.deployments.operation import Operation

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(900)]


def test_trainings_of_a_comparison_run_on_the_gpu_pool(
    serving: Operation, sandbox: Sandbox, tmp_path: Path
) -> None:
    compare = {"methods": [{"objective": "figa"}], "learning_rates": [1e-4, 1e30], "seeds": [3], "pairs": [6]}
    with TeacherProcess() as teacher:
        config = form(tmp_path, sandbox, teacher.base_url, compare=compare)
        config["training"] |= {"processes": 1, "max_steps": 4}
        run = serving.run("compare-methods", config=config)
        ended = serving.ended(run, timeout_s=800)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]

    trainings = serving.children_of(run)
    assert {each["work_pool_name"] for each in trainings} == {"gpu"}
    assert sorted(each["state_type"] for each in trainings) == ["COMPLETED", "FAILED"]
    assert {each["name"] for each in trainings} == {
        "workspace: train FIGA from base, 6 pairs, rate 0.0001, seed 3",
        "workspace: train FIGA from base, 6 pairs, rate 1e+30, seed 3",
    }
    [path] = tmp_path.glob("workspace/reports/*-methods.json")
    [row] = json.loads(path.read_text())["rows"]
    assert [each["outcome"] for each in row["trainings"]] == ["judged", "diverged"]
    shown = serving.artifacts(run)
    assert "FIGA scores" in shown["figa-methods"]["data"]
    assert "-methods" in shown["figa-methods-link"]["data"]


@pytest.mark.trl
def test_reinforcement_learning_runs_on_the_gpu_pool_as_well(
    serving: Operation, sandbox: Sandbox, tmp_path: Path
) -> None:
    if why_missing(OF_TRL):
        pytest.skip(why_missing(OF_TRL))
    compare = {"methods": [{"objective": "grpo"}], "learning_rates": [1e-4], "seeds": [3], "pairs": ["all"]}
    with TeacherProcess() as teacher:
        config = form(tmp_path, sandbox, teacher.base_url, compare=compare)
        run = serving.run("compare-methods", config=config)
        ended = serving.ended(run, timeout_s=800)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    [training] = serving.children_of(run)
    assert (training["work_pool_name"], training["state_type"]) == ("gpu", "COMPLETED")
    assert training["name"].startswith("workspace: train GRPO from base")
    [path] = tmp_path.glob("workspace/reports/*-methods.json")
    [row] = json.loads(path.read_text())["rows"]
    assert [each["outcome"] for each in row["trainings"]] == ["judged"]
    assert row["cost_of_one_training"]["flops"] > 0
