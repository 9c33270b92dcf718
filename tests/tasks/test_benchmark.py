"""The stage: each model is asked each task once, whatever run asks for it, and what fails is asked again.

lm-eval is a program of this test; `tests/figa_core/harness/test_lm_eval.py` runs the real one.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import PipelineConfig
from figa_core.config.file import parse_config
from figa_core.errors import EngineError, InterruptedRunError
from figa_core.harness.request import Request
from figa_core.sandbox.build import Sandbox
from figa_core.storage.benchmarks import benchmarks_of
from figa_core.storage.evaluations import Evaluation, save_evaluation
from figa_core.storage.runs import find_run
from tasks.benchmark import Benchmarked, benchmark, plan_benchmarks, planned
from tasks.benchmark_report import compared_benchmarks, shown_benchmarks
from tasks.workspace import Workspace
from tests.figa_core.harness.lm_eval_program import asked, lm_eval_results, use_program

from .conftest import NO_SYSTEM, RUN, with_template


def config_of(base: Path, **harness: Any) -> PipelineConfig:
    data = {
        "workspace": {"path": "w"},
        "prompts": {"path": "p"},
        "generation": {"model": str(base)},
        "reward": {"model": "reward"},
        "revision": {"model": "m"},
        "evaluation": {"harness": {"engine": "transformers", **harness}},
    }
    return parse_config(data, source="a test", base=base.parent)


def run(
    workspace: Workspace, config: PipelineConfig, label: str = "base", model: Path | None = None
) -> Benchmarked:
    asked = model or config.generation.model
    plan = plan_benchmarks(workspace, config, asked)
    return benchmark.fn(workspace, RUN, config, label, asked, plan)


def save_judged(workspace: Workspace, *labels: str) -> None:
    for label in labels:
        row = Evaluation(RUN, label, "reward", f"generator-{label}", "scorer", 2, 0.0, None)
        save_evaluation(workspace.database, row)


@pytest.fixture
def trained(sandbox: Sandbox, tmp_path: Path) -> Path:
    """Another model, because its template is another one."""
    return with_template(sandbox.base_model, NO_SYSTEM, tmp_path / "trained")


def test_a_model_is_asked_once_and_what_failed_again(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = use_program(tmp_path, monkeypatch)
    config = config_of(sandbox.base_model, tasks=["one", "fails", "two"])
    found = run(workspace, config)
    assert (found.counts.n_in, found.counts.n_out, found.counts.reasons) == (3, 2, {"no result": 1})
    assert [failure.task for failure in found.failures] == ["fails"]
    assert asked(harness) == ["base one", "base fails", "base two"]
    assert [each.task for each in plan_benchmarks(workspace, config, sandbox.base_model).missing] == ["fails"]

    run(workspace, config)
    assert asked(harness)[3:] == ["base fails"]
    copy = tmp_path / "the-same-model"
    shutil.copytree(sandbox.base_model, copy)
    run(workspace, config_of(copy, tasks=["two", "one"]), "FIGA")
    assert len(asked(harness)) == 4, "another directory, order and run are the same model and tasks"
    shown = [(each.label, each.benchmark.task) for each in benchmarks_of(workspace.database, RUN)]
    assert shown == [("FIGA", "two"), ("base", "one"), ("FIGA", "one"), ("base", "two")]


def test_a_run_that_is_stopped_keeps_the_tasks_that_are_done(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = use_program(tmp_path, monkeypatch)
    config = config_of(sandbox.base_model, tasks=["one", "two", "three"])

    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise InterruptedRunError

    plan = plan_benchmarks(workspace, config, sandbox.base_model)
    with pytest.raises(InterruptedRunError):
        benchmark.fn(workspace, RUN, config, "base", sandbox.base_model, plan, on_progress=stop)
    assert len(benchmarks_of(workspace.database, RUN)) == 2
    before = len(asked(harness))
    assert run(workspace, config).counts.n_out == 3
    assert asked(harness)[before:] in ([], ["base three"]), "[] if its file was whole when it was stopped"


def test_lm_eval_that_dies_is_an_error_after_which_the_rest_is_asked(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = use_program(tmp_path, monkeypatch)
    with pytest.raises(EngineError, match="ended with code 7 before it had evaluated dies, two"):
        run(workspace, config_of(sandbox.base_model, tasks=["one", "dies", "two"]))
    run(workspace, config_of(sandbox.base_model, tasks=["one", "two"]))
    assert asked(harness) == ["base one", "base dies", "base two"]


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 3},
        {"num_fewshot": 2},
        {"seed": 4},
        {"chat_template": False},
        {"engine": "vllm"},
    ],
)
def test_what_changes_a_score_is_another_benchmark(
    change: dict[str, Any],
    workspace: Workspace,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = use_program(tmp_path, monkeypatch)

    def ids_of(config: PipelineConfig, model: Path = sandbox.base_model) -> set[str]:
        return {each.benchmark_id for each in planned(workspace, config, model, harness)}

    usual = config_of(sandbox.base_model, tasks=["one", "two"])
    assert ids_of(usual).isdisjoint(ids_of(config_of(sandbox.base_model, tasks=["one", "two"], **change)))
    speed = config_of(sandbox.base_model, tasks=["two"], batch_size=3, download=False, chat_template=True)
    assert ids_of(speed) < ids_of(usual), "the template is used by default, and the rest is speed"


def test_only_what_vllm_would_sample_unasked_has_another_id_than_before(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, tasks = use_program(tmp_path, monkeypatch), ["silent_task", "one"]

    def settings_by(engine: str) -> list[object]:
        config = config_of(sandbox.base_model, tasks=tasks, engine=engine)
        return [each.settings for each in planned(workspace, config, sandbox.base_model, harness)]

    assert settings_by("vllm") == [{"chat_template": True, "decoding": "greedy"}, {"chat_template": True}]
    assert settings_by("transformers") == [{"chat_template": True}] * 2


def test_a_folders_files_count_for_the_tasks_in_it_only(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, folder = use_program(tmp_path, monkeypatch), tmp_path / "own"
    folder.mkdir()
    (folder / "own_task.yaml").write_text("task: own_task")
    config = config_of(sandbox.base_model, tasks=["own_task", "mmlu"], include_path=str(folder))
    first = planned(workspace, config, sandbox.base_model, harness)
    (folder / "data.jsonl").write_text("{}")
    second = planned(workspace, config, sandbox.base_model, harness)
    assert first[0].benchmark_id != second[0].benchmark_id
    assert first[1].benchmark_id == second[1].benchmark_id


def test_a_model_that_thinks_is_asked_in_its_template_and_judged_by_its_answers(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = use_program(tmp_path, monkeypatch)
    model = with_template(
        sandbox.base_model, NO_SYSTEM.replace("|assistant|>", "|assistant|><think>"), tmp_path / "m"
    )
    config = config_of(model, tasks=["one"], limit=9)
    run(workspace, config)
    [request] = map(Request.read, workspace.scratch("benchmarks").glob("*/request.json"))
    assert (request.think_end, request.chat_template, request.limit) == ("</think>", True, 9)
    assert (request.dtype, request.model) == ("float32", model)
    [asked_for] = planned(workspace, config, model, harness)
    assert asked_for.settings == {"chat_template": True, "limit": 9, "think_end": "</think>"}
    [plain] = planned(workspace, config_of(model, tasks=["one"], chat_template=False), model, harness)
    assert plain.settings == {"chat_template": False}


def test_the_report_shows_a_trained_model_beside_the_base_and_what_lacks(
    workspace: Workspace, sandbox: Sandbox, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(sandbox.base_model, tasks=["own_choice", "fails"])
    stored = find_run(workspace.database, RUN)
    assert shown_benchmarks(workspace, stored, config).rows == ()
    save_judged(workspace, "base", "FIGA", "never asked")
    use_program(tmp_path, monkeypatch)
    run(workspace, config)
    use_program(tmp_path, monkeypatch, result=lm_eval_results(values=(1.0, 1.0, 1.0, 1.0)))
    run(workspace, config, "FIGA", trained)
    found = shown_benchmarks(workspace, stored, config)
    [row] = found.rows
    assert (found.labels, found.release) == (("FIGA",), "0.4.13")
    assert found.how == ("transformers 5.19.0", "in the model's chat template")
    change = row.change("FIGA")
    assert change is not None
    assert (change.paired, change.change.mean, change.change.n) == (True, 25.0, 4)
    assert list(found.missing.items()) == [
        ("base", ("fails",)),
        ("FIGA", ("fails",)),
        ("never asked", ("own_choice", "fails")),
    ]
    assert shown_benchmarks(workspace, stored, config_of(sandbox.base_model)).rows == ()


def test_a_comparison_shows_what_its_models_have_and_the_runs_report_does_not(
    workspace: Workspace, sandbox: Sandbox, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, config = (
        use_program(tmp_path, monkeypatch),
        config_of(sandbox.base_model, tasks=["one", "fails"]),
    )
    plans = {}
    for label, model in (("base", sandbox.base_model), ("DPO", trained)):
        plans[label] = plan_benchmarks(workspace, config, model)
        benchmark.fn(workspace, None, config, label, model, plans[label])
    found = compared_benchmarks(workspace, config, {**plans, "SFT": None})
    [row] = found.rows
    assert (row.task, found.labels, found.release) == ("own_choice", ("DPO",), "0.4.13")
    assert dict(found.missing) == {"base": ("fails",), "DPO": ("fails",), "SFT": ("one", "fails")}
    assert benchmarks_of(workspace.database, RUN) == []
    run(workspace, config, "FIGA", trained)
    assert asked(harness)[4:] == ["trained fails"], "a run asks nothing again that a comparison has asked"
