"""The held-out answers that a report shows: of both models, from the most worsened to the most improved."""

import pytest

from figa_core import ids
from figa_core.config import PipelineConfig
from figa_core.config.file import parse_config
from figa_core.records import FinishReason, Message, Prompt, Response, Score, Split
from figa_core.report.data import HeldOutAnswer
from figa_core.storage.evaluations import Evaluation, save_evaluation
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.runs import find_run
from figa_core.storage.scores import save_scores
from tasks.judged_models import judged_models
from tasks.report_examples import held_out_answers
from tasks.workspace import Workspace

from .conftest import RUN

PROMPTS = 50


@pytest.fixture
def config(workspace: Workspace) -> PipelineConfig:
    data = {
        "workspace": {"path": "w"},
        "prompts": {"path": "p"},
        "generation": {"model": "g"},
        "reward": {"model": "r"},
        "revision": {"model": "m"},
    }
    return parse_config(data, source="a test", base=workspace.directory)


def judge(workspace: Workspace, label: str, metric: str, scores: list[float]) -> None:
    """Store a model's answers to held-out prompts, and a score of each by this metric."""
    database, scorer = workspace.database, f"{metric}-scorer"
    contents = [(Message("user", f"question {place}"),) for place in range(len(scores))]
    prompts = [
        Prompt(ids.prompt_id(messages), messages, Split.HELD_OUT, type="even" if place % 2 == 0 else None)
        for place, messages in enumerate(contents)
    ]
    save_prompts(database, RUN, prompts)
    end = ((5,), FinishReason.STOP)
    responses = [
        Response(f"{label}-{place}", prompt.prompt_id, 0, f"{label} {place}", *end)
        for place, prompt in enumerate(prompts)
    ]
    save_responses(database, f"generator-{label}", responses)
    values = zip(responses, scores, strict=True)
    save_scores(database, [Score(response.response_id, scorer, value) for response, value in values])
    save_evaluation(
        database, Evaluation(RUN, label, metric, f"generator-{label}", scorer, len(scores), 0.0, None)
    )


def shown(workspace: Workspace, config: PipelineConfig) -> tuple[HeldOutAnswer, ...]:
    run = find_run(workspace.database, RUN)
    return held_out_answers(workspace, run, config, judged_models(workspace, run, config))


def test_answers_are_spread_from_the_most_worsened_to_the_most_improved(
    workspace: Workspace, config: PipelineConfig
) -> None:
    judge(workspace, "base", "verifier", [0.5] * PROMPTS)
    judge(workspace, "FIGA", "verifier", [place / (PROMPTS - 1) for place in range(PROMPTS)])
    found = shown(workspace, config)
    assert len(found) == 20
    first, last = found[0], found[-1]
    assert (first.base, first.trained) == ("base 0", "FIGA 0")
    assert (first.messages[0].content, first.type, first.change) == ("question 0", "even", -50.0)
    assert (last.trained, last.type, last.trained_score) == ("FIGA 49", None, 100.0)
    changes = [answer.change for answer in found]
    assert changes == sorted(changes)


def test_without_both_models_or_a_common_score_no_answer_is_shown(
    workspace: Workspace, config: PipelineConfig
) -> None:
    assert shown(workspace, config) == ()
    judge(workspace, "base", "verifier", [0.5, 0.5])
    assert shown(workspace, config) == ()
    judge(workspace, "FIGA", "reward", [1.0, 2.0])
    assert shown(workspace, config) == ()


def test_without_a_verifier_answers_are_ordered_by_their_reward(
    workspace: Workspace, config: PipelineConfig
) -> None:
    judge(workspace, "base", "reward", [0.0, 0.0, 0.0])
    judge(workspace, "FIGA", "reward", [2.0, -1.0, 0.5])
    assert [answer.change for answer in shown(workspace, config)] == [-1.0, 0.5, 2.0]
