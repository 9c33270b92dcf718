"""Texts that a program rates, those that it fails on, and when the stage ends."""

from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.config import ProgramRewardConfig
from figa_core.errors import EngineError, InputError
from figa_core.storage.scores import count_unscored
from tasks.results import StageCounts
from tasks.rewards import Part
from tasks.score_by_program import score_by_program
from tasks.workspace import Workspace

from .rating import RESPONSES, add_responses, failures_of, values_of

PROGRAM = """
import math, os

def rate(messages, text, answer):
    assert messages[-1].content.startswith("question")
    if text == "unsure":
        return math.nan
    if text == "crash":
        os._exit(1)
    return {"no": None}.get(text, float(text == str(answer)))
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    (tmp_path / "a_program_of_a_test.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    config = ProgramRewardConfig(
        name="right", program="a_program_of_a_test:rate", fields=("answer",), processes=1
    )
    return Part("right", config, "program-1")


def score(workspace: Workspace, part: Part) -> StageCounts:
    return score_by_program.fn(workspace, part, RESPONSES)


def test_rows_without_a_value_are_counted_and_none_is_rated_twice(workspace: Workspace, part: Part) -> None:
    add_responses(workspace.database, [*(str(i) for i in range(20)), "crash", "no"], answer=7)
    counts = score(workspace, part)
    assert (counts.n_in, counts.n_out) == (22, 20)
    assert counts.reasons == {
        "the program ended its process": 1,
        "the program returned what is no number": 1,
    }
    values = values_of(workspace.database, "program-1")
    assert values == {str(i): float(i == 7) for i in range(20)}
    assert score(workspace, part) == StageCounts(0, 0)


def test_a_program_that_has_changed_since_the_run_began_rates_nothing(
    workspace: Workspace, part: Part
) -> None:
    add_responses(workspace.database, ["7"], answer=7)
    with pytest.raises(InputError, match=r"rewards \(right\).program: the file of .* has changed"):
        score(workspace, replace(part, source="the hash of another"))
    assert count_unscored(workspace.database, RESPONSES, "program-1") == 1


def test_any_number_of_rows_may_be_beyond_what_a_program_can_say(workspace: Workspace, part: Part) -> None:
    add_responses(workspace.database, ["unsure"] * 9 + ["7"], answer=7)
    assert score(workspace, part) == StageCounts(10, 1, {"the program cannot say": 9})
    assert failures_of(workspace.database, "program-1") == {"unsure": "the program cannot say"}


def test_a_program_that_fails_for_many_rows_ends_the_stage_and_they_are_tried_again(
    workspace: Workspace, part: Part
) -> None:
    add_responses(workspace.database, ["no"] * 5 + ["7"] * 5, answer=7)
    with pytest.raises(EngineError, match=r"5 of 10 train responses have no value of 'right' .*None"):
        score(workspace, part)
    assert failures_of(workspace.database, "program-1") == {}
    assert count_unscored(workspace.database, RESPONSES, "program-1") == 5
