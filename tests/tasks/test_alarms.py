"""The alarms of a run are stored with it, told once, and shown in its report."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from figa_core import ids
from figa_core.config import PipelineConfig
from figa_core.records import FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage.evaluations import Evaluation, save_evaluation
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.runs import Findings, find_run, save_findings, save_run
from figa_core.storage.scores import save_scores
from figa_core.training.metrics import StepMetrics, to_line
from tasks.alarms import alarms_of, judge_alarms
from tasks.workspace import Workspace
from tests.figa_core.config.other_values import config_of

RUN = "run"
FLUENT = tuple(range(40))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.database.create()
    save_run(workspace.database, RUN, "test", {}, None)
    messages = [(Message("user", f"question {number}"),) for number in range(20)]
    prompts = [Prompt(ids.prompt_id(each), each, Split.HELD_OUT) for each in messages]
    save_prompts(workspace.database, RUN, prompts)
    return workspace


@pytest.fixture
def config() -> PipelineConfig:
    return config_of({})


def judged(workspace: Workspace, label: str, answers: Iterable[tuple[int, ...]], reward: float) -> None:
    """A model's answers, as they are after its evaluation; its rewards differ by 0.1."""
    database, generator = workspace.database, f"generator of {label}"
    prompts = sorted(each for (each,) in database.fetch("SELECT prompt_id FROM prompts"))
    responses = [
        Response(f"{label}-{prompt}", prompt, 0, "text", tokens, FinishReason.STOP)
        for prompt, tokens in zip(prompts, answers, strict=True)
    ]
    save_responses(database, generator, responses)
    scores = [Score(r.response_id, "scorer", reward + n / 10) for n, r in enumerate(responses)]
    save_scores(database, scores)
    save_evaluation(database, Evaluation(RUN, label, "reward", generator, "scorer", 20, reward, 0.1))


def lengths(around: int) -> list[tuple[int, ...]]:
    return [tuple(range(around + number % 3)) for number in range(20)]


def test_a_model_that_repeats_itself_is_told_once_and_remembered(
    workspace: Workspace, config: PipelineConfig
) -> None:
    judged(workspace, "base", lengths(40), reward=1.0)
    judged(workspace, "FIGA", [(7, 8) * (20 + number % 3) for number in range(20)], reward=2.0)
    [alarm] = judge_alarms(workspace, RUN, config, "FIGA")
    assert alarm.name == "response_entropy"
    assert "is 1.0 bits on average, the base model's 5.4" in alarm.text
    assert alarms_of(find_run(workspace.database, RUN)) == {"FIGA": (alarm.text,)}
    assert judge_alarms(workspace, RUN, config, "FIGA") == []
    assert alarms_of(find_run(workspace.database, RUN)) == {"FIGA": (alarm.text,)}


def test_a_model_like_its_base_has_none(workspace: Workspace, config: PipelineConfig) -> None:
    judged(workspace, "base", lengths(40), reward=1.0)
    judged(workspace, "FIGA", lengths(44), reward=1.5)
    assert judge_alarms(workspace, RUN, config, "FIGA") == []
    assert judge_alarms(workspace, RUN, config, "never judged") == []
    assert alarms_of(find_run(workspace.database, RUN)) == {}


def test_a_vanished_loss_is_read_from_the_training(workspace: Workspace, config: PipelineConfig) -> None:
    save_findings(workspace.database, RUN, Findings(trainings={"figa": "training"}))
    directory = workspace.training("training")
    directory.mkdir(parents=True)
    steps = [
        StepMetrics(step, 1.0 if step < 10 else 0.01, 5, 9, 1, 0.1, 1e-3, None, skipped=step > 20)
        for step in range(1, 30)
    ]
    (directory / "metrics.jsonl").write_text("".join(map(to_line, steps)))
    judged(workspace, "base", lengths(40), reward=1.0)
    judged(workspace, "FIGA", lengths(44), reward=1.0)
    [alarm] = judge_alarms(workspace, RUN, config, "FIGA")
    assert alarm.name == "flat_reward"


def test_those_of_training_and_evaluation_are_shown_together(workspace: Workspace) -> None:
    for found in (
        Findings(alarms={"FIGA": ("while it trained",), "SFT": ()}),
        Findings(evaluation_alarms={"SFT": ("when it was judged",)}),
        Findings(evaluation_alarms={"FIGA": ("also",)}, scorer="scorer"),
    ):
        save_findings(workspace.database, RUN, found)
    run = find_run(workspace.database, RUN)
    assert alarms_of(run) == {"FIGA": ("while it trained", "also"), "SFT": ("when it was judged",)}
    save_findings(workspace.database, RUN, Findings(alarms={"FIGA": ()}))
    assert alarms_of(find_run(workspace.database, RUN))["FIGA"] == ("also",)
