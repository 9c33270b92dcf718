"""Which tasks of lm-eval a run would ask which models, and which have results."""

import shutil
from pathlib import Path

import pytest

from figa_core.config import PipelineConfig
from figa_core.config.file import parse_config
from figa_core.sandbox.build import Sandbox
from figa_core.storage.runs import Findings, save_findings, save_run
from flows.plan_benchmarking import benchmarking_lines, plan_benchmarking
from tasks.benchmark import benchmark, plan_benchmarks
from tasks.workspace import Workspace
from tests.figa_core.harness.lm_eval_program import asked, use_program

RUN = "run-1"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path / "workspace")
    found.directory.mkdir()
    found.database.create()
    return found


def config_of(sandbox: Sandbox, workspace: Workspace, *tasks: str) -> PipelineConfig:
    harness = {"engine": "transformers", "tasks": list(tasks)}
    data = {
        "workspace": {"path": str(workspace.directory)},
        "prompts": {"path": str(sandbox.prompts)},
        "generation": {"model": str(sandbox.base_model)},
        "reward": {"model": str(sandbox.reward_model)},
        "revision": {"model": "m"},
        "evaluation": {"harness": harness, "baselines": ["sft_revised"]},
    }
    return parse_config(data, source="a test", base=workspace.directory)


def ask(workspace: Workspace, config: PipelineConfig, model: Path) -> None:
    benchmark.fn(workspace, None, config, "a model", model, plan_benchmarks(workspace, config, model))


def test_without_tasks_there_is_nothing_to_plan(sandbox: Sandbox, workspace: Workspace) -> None:
    assert plan_benchmarking(config_of(sandbox, workspace), workspace, RUN) is None


def test_before_a_run_every_task_is_to_be_asked_of_every_model(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(tmp_path, monkeypatch)
    nowhere = Workspace(tmp_path / "nowhere")
    found = plan_benchmarking(config_of(sandbox, nowhere, "one", "two"), nowhere, None)
    assert found is not None
    assert dict(found.missing) == dict.fromkeys(("base", "FIGA", "SFT on Ỹ"), ("one", "two"))
    assert (
        next(benchmarking_lines(found)) == "lm-eval: 6 tasks of models to be asked, 0 tasks of models stored"
    )
    assert not nowhere.directory.exists()


def test_what_has_a_result_is_said_for_the_base_and_for_models_that_are_trained(
    sandbox: Sandbox, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = use_program(tmp_path, monkeypatch)
    config = config_of(sandbox, workspace, "one", "two")
    trained = workspace.trained_model("t1")
    shutil.copytree(sandbox.base_model, trained)
    (trained / "config.json").write_text((trained / "config.json").read_text() + " ")  # another model
    (workspace.training("t1") / "manifest.json").write_text("{}")
    save_run(workspace.database, RUN, "test", config.model_dump(mode="json"), None)
    save_findings(workspace.database, RUN, Findings(trainings={"figa": "t1"}))
    ask(workspace, config_of(sandbox, workspace, "two"), sandbox.base_model)
    ask(workspace, config, trained)
    before = asked(harness)
    found = plan_benchmarking(config, workspace, RUN)
    assert found is not None
    assert list(benchmarking_lines(found)) == [
        "lm-eval: 3 tasks of models to be asked, 3 tasks of models stored",
        "  base: to be asked: one; stored: two",
        "  FIGA: stored: one, two",
        "  SFT on Ỹ: to be asked: one, two",
    ]
    assert asked(harness) == before
    ask(workspace, config, sandbox.base_model)
    assert asked(harness)[len(before) :] == ["base one"], "the plan is what is then asked"
