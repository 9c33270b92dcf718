"""The held-out answers that a report shows: of both models, from the most worsened to the most improved."""

import pytest

from figa_core.config import PipelineConfig
from figa_core.config.file import parse_config
from figa_core.report.data import HeldOutAnswer
from figa_core.storage.runs import find_run
from tasks.judged_models import judged_models
from tasks.report_examples import held_out_answers
from tasks.workspace import Workspace

from .conftest import RUN
from .judged_answers import judge

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
