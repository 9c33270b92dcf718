"""What a report shows of a run comes from its workspace, also of a run that failed or was asked for less."""

from typing import Any

import pytest

from figa_core.file_hashes import write_sealed
from figa_core.report.data import ReportData
from figa_core.report.first_page import first_page
from figa_core.sandbox.build import Sandbox
from figa_core.storage.runs import DATASET_ONLY, FAILED, Findings, end_run, save_findings, save_run
from tasks.report import collect, write
from tasks.workspace import Workspace

from .conftest import RUN
from .judged_answers import judge


@pytest.fixture
def run(workspace: Workspace, sandbox: Sandbox) -> Workspace:
    """A run whose base and trained model are judged by the reward that also chose the pairs."""
    config: dict[str, Any] = {
        "workspace": {"path": str(workspace.directory)},
        "prompts": {"path": str(sandbox.prompts)},
        "generation": {"model": str(sandbox.base_model)},
        "reward": {"model": str(sandbox.reward_model)},
        "revision": {"model": "teacher"},
    }
    save_run(workspace.database, RUN, "test", config, None)
    return workspace


def finish_training(workspace: Workspace, **more: Any) -> None:
    """As if the run's training had taken 90 s."""
    save_findings(workspace.database, RUN, Findings(trainings={"figa": "training-1"}))
    output = workspace.training("training-1")
    output.mkdir(parents=True)
    fields: dict[str, Any] = {"training_id": "training-1", "steps": 3, "skipped_steps": 0}
    fields |= {"wall_seconds": 90.0, "peak_rss_bytes": 2**30, "versions": {}}
    write_sealed(output / "manifest.json", fields | more)


def collected(workspace: Workspace) -> ReportData:
    return collect(workspace, RUN, "now")


def sentences(data: ReportData) -> list[str]:
    return [sentence for _, sentence in first_page(data)]


def test_the_first_page_has_the_verdict_the_cost_and_the_doubts_of_the_run(run: Workspace) -> None:
    judge(run, "base", "reward", [0.0, 0.1, 0.2, 0.1])
    judge(run, "FIGA", "reward", [1.0, 1.2, 1.1, 1.3])
    finish_training(run)
    data = collected(run)
    assert sentences(data) == [
        "Yes: FIGA is better than its base by the reward.",
        "FIGA raised the mean reward from 0.10 to 1.15 "
        "(+1.05, 95 % CI 0.84 to 1.26, n = 4 held-out prompts).",
        "No call to a language model, and 90 s of training; drawing and scoring answers is not counted.",
        "With care: its judge is the reward that also chose the pairs trained on; only 4 held-out prompts "
        "were compared.",
    ]
    assert [answer.trained for answer in data.answers] == ["FIGA 2", "FIGA 0", "FIGA 1", "FIGA 3"]
    assert set(data.types.values()) == {"even"}
    write(run, data)
    assert "Yes: FIGA is better" in run.report(RUN).read_text(encoding="utf-8")


def test_a_training_that_an_alarm_ended_is_named_with_the_alarm(run: Workspace) -> None:
    alarm = {"name": "kl_from_base", "step": 2, "value": 3.0, "base": 1.0, "limit": 2.0}
    finish_training(run, planned_steps=9, alarms=[alarm | {"stops": True, "good_step": 1}])
    judge(run, "base", "reward", [0.0, 0.1])
    judge(run, "FIGA", "reward", [1.0, 1.2])
    assert sentences(collected(run))[3].startswith(
        "With care: an alarm ended the training early (kl from base)"
    )


def test_a_trained_model_that_is_not_judged_yet_is_not_called_missing(run: Workspace) -> None:
    finish_training(run)
    judge(run, "base", "reward", [0.0, 0.1])
    assert sentences(collected(run))[0] == "Not known: FIGA was trained and has not been judged yet."


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (DATASET_ONLY, None, "this run was asked for training pairs only"),
        (
            FAILED,
            "the disk is full. Free space.\nMore.",
            "the run failed before a model was judged (the disk is",
        ),
        ("running", None, "no model has been trained in this run yet"),
    ],
)
def test_a_run_without_a_model_says_why(run: Workspace, status: str, message: str | None, words: str) -> None:
    end_run(run.database, RUN, status, message)
    data = collected(run)
    assert sentences(data)[0].startswith(f"Not known: {words}")
    assert sentences(data)[3] == "There is no result to trust yet."
