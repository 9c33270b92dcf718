"""Several rewards as one: what cannot be combined ends the stage with what to do."""

import pytest

from figa_core.config import ProgramRewardConfig
from figa_core.errors import InputError, NothingToDoError
from figa_core.records import Score
from figa_core.storage.scores import save_scores
from tasks.combine import combine
from tasks.results import StageCounts
from tasks.rewards import Part, Reward
from tasks.workspace import Workspace

from .rating import RESPONSES, add_responses, values_of


def part(name: str) -> Part:
    return Part(name, ProgramRewardConfig(name=name, program="m:f"), f"{name}-1")


BOTH = Reward("combined", "both", (part("length"), part("facts")))


def combined(workspace: Workspace) -> StageCounts:
    return combine.fn(workspace, BOTH, RESPONSES, sets_scale=True)


def rate(workspace: Workspace, name: str, *values: float) -> None:
    rows = [Score(f"response-{i}", f"{name}-1", value) for i, value in enumerate(values)]
    save_scores(workspace.database, rows)


def test_a_part_without_values_is_named_and_combined_once_it_has_some(workspace: Workspace) -> None:
    add_responses(workspace.database, ["a", "b"])
    with pytest.raises(InputError, match="no common scale yet"):
        combined(workspace)
    rate(workspace, "length", 1.0, 3.0)
    with pytest.raises(NothingToDoError, match="'facts' has a value for none of the run's responses"):
        combined(workspace)
    rate(workspace, "facts", 0.0, 1.0)
    assert combined(workspace).n_out == 2
    assert values_of(workspace.database, "both") == {"a": -1.0, "b": 1.0}


def test_values_that_have_no_deviation_are_refused(workspace: Workspace) -> None:
    """Divided by an infinite one, they would count for nothing without a word."""
    add_responses(workspace.database, ["a", "b"])
    rate(workspace, "length", 1.0, 3.0)
    rate(workspace, "facts", -1e300, 1.0)
    with pytest.raises(InputError, match="the values of 'facts' are so large"):
        combined(workspace)
    assert values_of(workspace.database, "both") == {}
