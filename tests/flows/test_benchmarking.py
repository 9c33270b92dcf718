"""A run benchmarks its models by lm-eval; done again, it asks nothing twice."""

import json
from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.harness.environment import PYTHON_VARIABLE, find_harness
from figa_core.harness.request import TRANSFORMERS, VLLM
from figa_core.sandbox.benchmark import GROUP, WRITTEN, write_tasks
from tests.figa_core.harness.lm_eval_program import asked, use_program

from .conftest import Project

ENGINES = [TRANSFORMERS, VLLM]
pytestmark = [pytest.mark.distributed, pytest.mark.slow]


def short(project: Project, folder: Path, **harness: object) -> None:
    """One optimizer step, and these benchmarks. The folder has nothing else: its files are in their ids."""
    folder.mkdir(exist_ok=True)
    project.settings["training"] |= {"max_steps": 1, "processes": 1, "checkpoint_steps": 1}
    include = {"engine": "transformers", "include_path": str(folder)}
    project.settings["evaluation.harness"] = {**include, **harness}


def report_of(project: Project) -> str:
    [report] = (project.workspace / "reports").glob("run-*.html")
    return report.read_text()


def scores_of(project: Project) -> list[dict]:
    [verdicts] = (project.workspace / "verdicts").glob("run-*.json")
    return json.loads(verdicts.read_text())["benchmarks"]


def test_base_and_trained_model_stand_beside_each_other_and_are_asked_once(
    served_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = use_program(tmp_path, monkeypatch)
    project = served_project
    project.environment[PYTHON_VARIABLE] = str(harness.python)
    short(project, tmp_path / "tasks", tasks=["own_choice", "fails"])
    first = project.run()
    assert first.returncode in (0, 3), first.stdout  # 3: one step may make the model worse
    assert "warning: evaluation.harness: FIGA: fails: its data cannot be loaded here" in first.stdout
    assert "FIGA has no result of fails" in report_of(project)
    assert {row["model"] for row in scores_of(project)} == {"base", "FIGA"}
    assert sum("own_choice" in line for line in asked(harness)) == 2
    project.run()
    assert sum("own_choice" in line for line in asked(harness)) == 2
    assert sum("fails" in line for line in asked(harness)) == 4


def test_a_comparison_asks_the_base_and_each_methods_model_once(
    served_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = use_program(tmp_path, monkeypatch)
    project = served_project
    project.environment[PYTHON_VARIABLE] = str(harness.python)
    short(project, tmp_path / "tasks", tasks=["own_choice", "fails"])
    methods = ["figa", "sft_revised"]
    project.settings["compare"] = {"methods": methods, "learning_rates": [1e-4], "seeds": [3]}
    first = project.figa("compare", "--config", str(project.config))
    assert first.returncode == 0, first.stdout
    assert "warning: evaluation.harness: FIGA: fails: its data cannot be loaded here" in first.stdout
    [path] = (project.workspace / "reports").glob("*-methods.json")
    found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
    assert [(row["task"], row["model"]) for row in found] == [
        ("own_choice", "base"),
        ("own_choice", "FIGA"),
        ("own_choice", "SFT on Ỹ"),
    ]
    assert 'id="benchmarks"' in path.with_suffix(".html").read_text(encoding="utf-8")
    assert sum("own_choice" in line for line in asked(harness)) == 3
    planned = project.figa("plan", "--config", str(project.config)).stdout
    assert "  base: to be asked: fails; stored: own_choice" in planned
    assert "  FIGA: to be asked: own_choice, fails" in planned, "the run itself has trained nothing"
    again = project.figa("compare", "--config", str(project.config))
    assert again.returncode == 0, again.stdout
    assert sum("own_choice" in line for line in asked(harness)) == 3


@pytest.mark.harness
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ENGINES)
def test_lm_eval_benchmarks_a_run(served_project: Project, tmp_path: Path, engine: str) -> None:
    try:
        harness = find_harness()
    except EngineError as error:
        pytest.skip(str(error))
    if engine == VLLM and not harness.has_vllm:
        pytest.skip("no vLLM in lm-eval's environment")
    project, folder = served_project, tmp_path / "tasks"
    write_tasks(folder, questions=12)
    project.environment[PYTHON_VARIABLE] = str(harness.python)
    short(project, folder, tasks=[GROUP, WRITTEN], engine=engine)
    # Two models, and vLLM takes minutes to start on cores that others use.
    done = project.figa("run", "--config", str(project.config), timeout_s=1500)
    assert done.returncode in (0, 3), done.stdout
    found = {(row["task"], row["model"]): row for row in scores_of(project)}
    assert found[GROUP, "FIGA"]["questions"] == 24
    assert found[WRITTEN, "FIGA"]["paired"]
    assert 'id="benchmarks"' in report_of(project)

    project.settings["evaluation.harness"]["tasks"] = [GROUP, "no_such_task"]
    refused = project.run()
    assert refused.returncode == 1
    assert "'no_such_task' is no task, group or tag of lm-eval" in refused.stdout
