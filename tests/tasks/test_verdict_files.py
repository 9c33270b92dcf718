"""Programs find the verdict on a model beside it, and that of a run by the run's id."""

import json
from pathlib import Path

import pytest

from figa_core.errors import WorkspaceError
from figa_core.evaluation.verdict import NOT_JUDGED, Verdict
from figa_core.report.comparison import verdict_on
from figa_core.report.data import ModelScores, ReportData
from figa_core.training.checkpoints import MANIFEST_NAME
from tasks.verdict_files import add_separate_verdict, write_verdicts
from tasks.workspace import Workspace

BASE = ModelScores("base", {"a": 1.0, "b": 2.0, "c": 3.0})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.trained_model("t").mkdir(parents=True)
    (workspace.training("t") / MANIFEST_NAME).write_text("{}")
    return workspace


def model(workspace: Workspace, *rewards: float, label: str = "FIGA") -> ModelScores:
    directory = str(workspace.trained_model("t"))
    return ModelScores(label, dict(zip("abc", rewards, strict=True)), directory=directory)


def run(main: ModelScores, *others: ModelScores, run_id: str = "run-1") -> ReportData:
    return ReportData("w", run_id, "now", base=BASE, main=main, baselines=others)


def beside(workspace: Workspace) -> dict[str, object]:
    return json.loads((workspace.training("t") / "verdict.json").read_text())


def test_a_worse_model_is_marked_beside_it_and_in_its_run(workspace: Workspace) -> None:
    write_verdicts(workspace, run(model(workspace, 0.0, 0.9, 2.1)))
    assert beside(workspace)["do_not_use"] is True
    found = json.loads(workspace.verdicts("run-1").read_text())
    assert (found["main"], found["verdict"], found["do_not_use"]) == ("FIGA", "worse", True)
    assert found["models"]["FIGA"]["directory"] == str(workspace.trained_model("t"))
    assert not any(workspace.trained_model("t").iterdir()), "the model's own files have hashes"


def test_a_run_is_judged_by_its_main_model(workspace: Workspace) -> None:
    worse = ModelScores("SFT", {"a": 0.0, "b": 0.9, "c": 2.1})
    write_verdicts(workspace, run(model(workspace, 2.0, 3.1, 4.0), worse))
    found = json.loads(workspace.verdicts("run-1").read_text())
    assert (found["verdict"], found["models"]["SFT"]["verdict"]) == ("better", "worse")
    assert beside(workspace)["do_not_use"] is False


def test_a_model_that_one_run_found_worse_stays_marked_until_that_run_finds_otherwise(
    workspace: Workspace,
) -> None:
    write_verdicts(workspace, run(model(workspace, 0.0, 0.9, 2.1)))
    write_verdicts(workspace, run(model(workspace, 1.0, 2.1, 2.9), run_id="run-2"))
    assert beside(workspace)["do_not_use"] is True
    write_verdicts(workspace, run(model(workspace, 1.0, 2.1, 2.9)))
    assert beside(workspace)["do_not_use"] is False


@pytest.mark.parametrize("damaged", ["", "[1]", '{"runs": 3}', "\xff"])
def test_a_damaged_file_is_written_anew(workspace: Workspace, damaged: str) -> None:
    (workspace.training("t") / "verdict.json").write_text(damaged)
    write_verdicts(workspace, run(model(workspace, 0.0, 0.9, 2.1)))
    assert beside(workspace)["do_not_use"] is True


def test_without_a_trained_model_nothing_is_written(workspace: Workspace) -> None:
    write_verdicts(workspace, ReportData("w", "run-1", "now", base=BASE))
    assert not workspace.verdicts("run-1").exists()


def test_a_model_that_was_not_judged_is_named(workspace: Workspace) -> None:
    write_verdicts(workspace, ReportData("w", "run-1", "now", unjudged="FIGA"))
    found = json.loads(workspace.verdicts("run-1").read_text())
    assert (found["main"], found["verdict"], found["models"]) == ("FIGA", "not judged", {})


def judged(workspace: Workspace) -> tuple[ReportData, Verdict]:
    data = run(model(workspace, 0.0, 0.9, 2.1))
    assert data.main is not None
    return data, verdict_on(BASE, data.main)


def test_a_training_of_another_run_that_is_evaluated_alone_gets_its_verdict(workspace: Workspace) -> None:
    add_separate_verdict(workspace.trained_model("t"), *judged(workspace))
    assert beside(workspace)["do_not_use"] is True


def test_nothing_is_written_beside_a_model_from_elsewhere(workspace: Workspace, tmp_path: Path) -> None:
    mine = tmp_path / "models" / "mine"
    mine.mkdir(parents=True)
    add_separate_verdict(mine, run(model(workspace, 1.0, 2.0, 3.0)), NOT_JUDGED)
    assert [*mine.parent.iterdir()] == [mine]


def test_a_verdict_that_cannot_be_written_is_an_error_that_names_the_file(workspace: Workspace) -> None:
    (workspace.training("t") / "verdict.json").mkdir()
    with pytest.raises(WorkspaceError, match=r"verdict\.json: cannot write the verdict"):
        add_separate_verdict(workspace.trained_model("t"), *judged(workspace))
