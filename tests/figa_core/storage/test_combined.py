"""Several scorers as one: on the scale of the run's responses, which is stored once."""

import numpy as np
import pytest

from figa_core.ports import RowFailure
from figa_core.records import Score, Split
from figa_core.rewards.combination import Scale, Term, terms_of
from figa_core.storage.combined import Combined, combine, fix_scales, scales_of
from figa_core.storage.database import Database
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import (
    references_of,
    responses_of,
    save_score_failures,
    save_scores,
)

from .filled import GENERATOR, RUN, TRAIN, response

BOTH = "combined"
RESPONSES = responses_of(RUN, GENERATOR, Split.TRAIN)
IDS = [response(prompt).response_id for prompt in TRAIN]
HELPFUL = np.array([0.5, -2.0, 7.25, 1.0, 3.5, 0.0])
FACTS = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])


@pytest.fixture
def database(database: Database) -> Database:
    save_responses(database, GENERATOR, [response(prompt) for prompt in TRAIN])
    save_values(database, "helpful", dict(zip(IDS, HELPFUL, strict=True)))
    save_values(database, "facts", dict(zip(IDS, FACTS, strict=True)))
    return database


def save_values(database: Database, scorer: str, values: dict[str, float]) -> None:
    save_scores(database, [Score(subject, scorer, value) for subject, value in values.items()])


def values_of(database: Database) -> dict[str, float]:
    return dict(database.fetch("SELECT subject_id, value FROM scores WHERE scorer_id = $s", s=BOTH))


def terms(database: Database) -> list[Term]:
    scales = fix_scales(database, RESPONSES, BOTH, ["helpful", "facts"])
    weights = {"helpful": 1.0, "facts": -3.0}
    return terms_of(scales, {"helpful": "Helpful", "facts": "Facts"}, weights)


def test_the_values_are_the_weighted_mean_of_z_scores(database: Database) -> None:
    assert combine(database, RESPONSES, BOTH, terms(database)) == Combined(6)
    z = [(values - values.mean()) / values.std() for values in (HELPFUL, FACTS)]
    expected = (1.0 * z[0] - 3.0 * z[1]) / 4.0
    assert values_of(database) == pytest.approx(dict(zip(IDS, expected, strict=True)), abs=1e-12)


def test_other_texts_are_on_the_scale_of_the_responses_which_never_changes(database: Database) -> None:
    before = terms(database)
    references = [prompt.reference_id for prompt in TRAIN if prompt.reference_id]
    save_values(database, "helpful", dict.fromkeys(references, 9.0))
    save_values(database, "facts", dict.fromkeys(references, 1.0))
    database.execute("UPDATE scores SET value = value + 100 WHERE scorer_id = 'helpful' AND value < 8")
    assert terms(database) == before
    assert combine(database, references_of(RUN), BOTH, before) == Combined(len(references))
    z = (9.0 - HELPFUL.mean()) / HELPFUL.std(), (1.0 - FACTS.mean()) / FACTS.std()
    assert values_of(database) == pytest.approx(dict.fromkeys(references, (z[0] - 3 * z[1]) / 4), abs=1e-12)
    assert combine(database, references_of(RUN), BOTH, before) == Combined(0)


def test_a_text_that_a_part_cannot_rate_has_no_value_and_one_that_waits_gets_it_later(
    database: Database,
) -> None:
    database.execute("DELETE FROM scores WHERE subject_id IN ($a, $b)", a=IDS[0], b=IDS[1])
    save_values(database, "helpful", {IDS[0]: 1.0, IDS[1]: 1.0})
    save_score_failures(database, "facts", [RowFailure(IDS[0], "the program raised KeyError: 'x'")])
    found = combine(database, RESPONSES, BOTH, terms(database))
    assert found == Combined(4, {"Facts: the program raised KeyError": 1}, waiting=1)
    [(reason,)] = database.fetch("SELECT reason FROM score_failures WHERE scorer_id = $s", s=BOTH)
    assert reason == "Facts: the program raised KeyError: 'x'"
    save_values(database, "facts", {IDS[1]: 0.0})
    assert combine(database, RESPONSES, BOTH, terms(database)) == Combined(1)
    assert values_of(database).keys() == set(IDS[1:])


def test_scales_of_another_scorer_are_its_own(database: Database) -> None:
    terms(database)
    assert [scale.part_id for scale in scales_of(database, BOTH)] == ["facts", "helpful"]
    assert scales_of(database, "another") == []


def test_scales_are_stored_only_when_each_part_has_one(database: Database) -> None:
    """As a judge has none that was not asked yet: it will have one when the run continues."""
    parts = ["helpful", "facts", "judge"]
    assert len(fix_scales(database, RESPONSES, BOTH, parts)) == 2
    assert scales_of(database, BOTH) == []
    save_values(database, "judge", {IDS[0]: 4.0, IDS[1]: 6.0})
    found = fix_scales(database, RESPONSES, BOTH, parts)
    assert found[-1] == Scale("judge", 5.0, 1.0, 2)
    assert found == scales_of(database, BOTH)


@pytest.mark.parametrize("values", [(1e200, 1.0), (1.7e308, 1.7e308), (1.7e308, -1.7e308)])
def test_a_scale_that_is_not_finite_is_not_stored(database: Database, values: tuple[float, float]) -> None:
    save_values(database, "wild", dict(zip(IDS, values, strict=False)))
    found = fix_scales(database, RESPONSES, BOTH, ["helpful", "wild"])
    assert [scale.is_finite for scale in found] == [True, False]
    assert scales_of(database, BOTH) == []


def test_a_part_whose_values_are_all_the_same_still_tells_others_from_them() -> None:
    flat, usual = Scale("a", 0.1, 1e-17, 5), Scale("b", 2.0, 4.0, 5)
    assert (flat.is_flat, usual.is_flat) == (True, False)
    found = terms_of([flat, usual], {"a": "A", "b": "B"}, {"a": 1.0, "b": -1.0})
    assert found == [Term("A", "a", 0.1, 0.5), Term("B", "b", 2.0, -0.125)]
