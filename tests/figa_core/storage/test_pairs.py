"""Decisions about pairs, a page at a time, wherever a page ends and whenever a run is killed."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from figa_core import ids
from figa_core.filtering import Candidate, Thresholds, admit, keep
from figa_core.records import Decision, FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage.database import Database
from figa_core.storage.pairs import (
    Admissible,
    RevisionRecipe,
    RunScores,
    decide_admissions,
    iter_candidates,
    median_reward,
    replace_pairs,
)
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import save_scores
from tests.figa_core.storage.empty import new_database

SCORES = RunScores("run", "generator", "scorer")
RECIPE = RevisionRecipe("m", 0.0, 64, {True: "with reference", False: "without"})
SAMPLES = (3, 1, 5, 2, 4, 1, 3)
LOWEST = partial(keep, thresholds=Thresholds(0.8, 0.5, 0.2), lowest_only=True)
PairRow = tuple[str, bool, str, str | None]


def prompt(index: int) -> Prompt:
    messages = (Message("user", f"question {index}"),)
    reference = f"reference-{index}" if index % 2 else None
    return Prompt(ids.prompt_id(messages), messages, Split.TRAIN, reference and "good", reference)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Seven prompts with one to five scored samples each; every other one has a reference."""
    database, rng = new_database(tmp_path / "figa.duckdb"), random.Random(3)
    prompts = [prompt(index) for index in range(len(SAMPLES))]
    save_prompts(database, "run", prompts)
    responses = [
        Response(f"response-{index}-{i}", prompts[index].prompt_id, i, "text", (1,), FinishReason.STOP)
        for index, samples in enumerate(SAMPLES)
        for i in range(samples)
    ]
    save_responses(database, "generator", responses)
    save_scores(database, [Score(r.response_id, "scorer", rng.random()) for r in responses])
    save_scores(database, [Score(p.reference_id, "scorer", 1.0) for p in prompts if p.reference_id])
    return database


def pages(database: Database, page_rows: int) -> list[list[Candidate]]:
    return list(iter_candidates(database, SCORES, page_rows))


def rows(database: Database) -> list[Candidate]:
    return list(chain.from_iterable(pages(database, 1000)))


def pairs(database: Database) -> list[PairRow]:
    return database.fetch(
        "SELECT response_id, kept, keep_reason, revision_id FROM pairs ORDER BY response_id"
    )


def revise_all(database: Database) -> None:
    """Every revision of a kept pair succeeded and is scored 0.5."""
    database.execute("UPDATE revisions SET status = 'succeeded', text = 'better'")
    database.execute("INSERT INTO scores SELECT revision_id, 'scorer', 0.5 FROM revisions")


@pytest.mark.parametrize("page_rows", [1, 2, 3, 4, 7, 18, 19, 20])
def test_the_samples_of_a_prompt_are_never_on_two_pages(database: Database, page_rows: int) -> None:
    found = pages(database, page_rows)
    on_page = [{c.prompt_id for c in page} for page in found]
    assert sum(map(len, on_page)) == len(set().union(*on_page)) == len(SAMPLES)
    assert list(chain.from_iterable(found)) == rows(database)
    assert max(map(len, found)) <= page_rows + max(SAMPLES)


@pytest.mark.parametrize("page_rows", [1, 2, 3, 4, 7, 18, 19, 20])
def test_pages_lead_to_the_same_decisions_as_all_rows_at_once(database: Database, page_rows: int) -> None:
    expected = LOWEST(rows(database))

    replace_pairs(database, SCORES, LOWEST, RECIPE, page_rows)

    found = pairs(database)
    assert {response: Decision(kept, reason) for response, kept, reason, _ in found} == expected
    assert 0 < sum(kept for _, kept, _, _ in found) <= len(SAMPLES)
    assert all((revision is not None) == kept for _, kept, _, revision in found)
    revisions = database.fetch("SELECT revision_id FROM revisions WHERE status = 'pending'")
    assert {revision for (revision,) in revisions} == {row[3] for row in found if row[1]}


@pytest.mark.parametrize("at_once", [1, 4, 18, 19, 20])
def test_decisions_that_are_stored_in_parts_are_complete(
    database: Database, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("figa_core.storage.pairs._ROWS_AT_ONCE", at_once)
    for _ in range(2):
        replace_pairs(database, SCORES, LOWEST, RECIPE, 3)
        expected = LOWEST(rows(database))
        assert {response: Decision(kept, why) for response, kept, why, _ in pairs(database)} == expected
        database.insert("exclusions", [{"subject_id": "response-0-1", "reason": "no"}])


def test_a_revision_is_identified_by_the_reference_and_its_template() -> None:
    assert RECIPE.revision_id("response", "reference") == ids.revision_id(
        response="response",
        reference="reference",
        template="with reference",
        model="m",
        temperature=0.0,
        max_tokens=64,
    )
    assert RECIPE.revision_id("response", None) != RECIPE.revision_id("response", "reference")


def interrupted(decide: Callable[..., dict[str, Decision]], after: int) -> Callable[..., dict[str, Decision]]:
    """Like `decide`, until this many pages were decided."""
    left = iter(range(after))

    def decide_some(page: Sequence[Candidate] | Sequence[Admissible]) -> dict[str, Decision]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return decide(page)

    return decide_some


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_filter_that_is_interrupted_keeps_the_former_pairs(database: Database, after: int) -> None:
    def none(page: Sequence[Candidate]) -> dict[str, Decision]:
        return {c.response_id: Decision(False, "no") for c in page}

    replace_pairs(database, SCORES, LOWEST, RECIPE, 2)
    before = pairs(database)
    with pytest.raises(KeyboardInterrupt):
        replace_pairs(database, SCORES, interrupted(none, after), RECIPE, 2)
    assert pairs(database) == before
    replace_pairs(database, SCORES, none, RECIPE, 2)
    assert not any(kept for _, kept, _, _ in pairs(database))


def test_an_admission_that_is_interrupted_keeps_the_former_decisions(database: Database) -> None:
    def admit(page: Sequence[Admissible], *, accepted: bool) -> dict[str, Decision]:
        return {row.response_id: Decision(accepted, "why") for row in page}

    replace_pairs(database, SCORES, LOWEST, RECIPE)
    revise_all(database)
    decide_admissions(database, "run", "scorer", partial(admit, accepted=True), 2)
    with pytest.raises(KeyboardInterrupt):
        decide_admissions(database, "run", "scorer", interrupted(partial(admit, accepted=False), 1), 2)
    found = database.fetch("SELECT kept, admitted, admit_reason FROM pairs")
    assert {row for row in found if row[0]} == {(True, True, "why")}
    assert {row for row in found if not row[0]} == {(False, None, None)}


@pytest.mark.parametrize("page_rows", [1, 3, 100])
def test_every_successful_revision_is_decided_once_with_both_rewards(
    database: Database, page_rows: int
) -> None:
    replace_pairs(database, SCORES, LOWEST, RECIPE)
    revise_all(database)
    rewards = {c.response_id: c.response_reward for c in rows(database)}
    kept = [response for response, is_kept, _, _ in pairs(database) if is_kept]
    assert admissible(database, page_rows) == [Admissible(r, rewards[r], 0.5) for r in kept]


def admissible(database: Database, page_rows: int = 1000) -> list[Admissible]:
    """What has to be decided; all are admitted."""
    seen: list[Admissible] = []

    def admit(page: Sequence[Admissible]) -> dict[str, Decision]:
        seen.extend(page)
        return {row.response_id: Decision(True, "yes") for row in page}

    decide_admissions(database, "run", "scorer", admit, page_rows)
    return sorted(seen, key=lambda row: row.response_id)


def test_another_scorer_decides_nothing(database: Database) -> None:
    """Neither its values nor its failures, of responses, of references or of revisions."""
    replace_pairs(database, SCORES, LOWEST, RECIPE)
    revise_all(database)
    before, decided, asked = rows(database), pairs(database), admissible(database)
    database.execute("INSERT INTO scores SELECT subject_id, 'another', 99.0 FROM scores")
    database.execute(
        "INSERT INTO score_failures SELECT subject_id, 'a third', 'odd', 'odd' FROM scores "
        "WHERE scorer_id = 'scorer'"
    )
    assert rows(database) == before
    replace_pairs(database, SCORES, LOWEST, RECIPE)
    assert pairs(database) == decided
    assert admissible(database) == asked != []
    assert median_reward(database, RunScores("run", "generator", "another")) == 99.0


def fail(database: Database, subjects: str) -> None:
    """Replaces the scorer's values of these by failures."""
    database.execute(
        f"INSERT INTO score_failures SELECT subject_id, scorer_id, 'odd', 'odd (1)' FROM scores "
        f"WHERE subject_id IN ({subjects})"
    )
    database.execute(f"DELETE FROM scores WHERE subject_id IN ({subjects})")


def test_a_response_or_a_reference_without_a_reward_is_left_out_with_the_reason(database: Database) -> None:
    expected = LOWEST(rows(database))
    fail(database, "'response-0-1', 'reference-3'")
    replace_pairs(database, SCORES, LOWEST, RECIPE, 2)
    found = {response: (kept, why) for response, kept, why, _ in pairs(database)}
    assert found.keys() == expected.keys()
    assert found["response-0-1"] == (False, "no reward: odd")
    assert {found[f"response-3-{i}"] for i in range(SAMPLES[3])} == {
        (False, "no reward of the reference: odd")
    }
    others = [r for r in found if not r.startswith(("response-0", "response-3"))]
    assert all(Decision(*found[r]) == expected[r] for r in others)


def test_a_reference_that_waits_for_its_score_does_not_count_as_missing(database: Database) -> None:
    """As one does that a judge was not asked about yet, which the settings tolerate for a few."""
    before = LOWEST(rows(database))
    assert any(before[f"response-3-{i}"].accepted for i in range(SAMPLES[3]))
    database.execute("DELETE FROM scores WHERE subject_id = 'reference-3'")
    found = LOWEST(rows(database))
    why = "no reward of the reference: it waits for its score"
    assert {found[f"response-3-{i}"] for i in range(SAMPLES[3])} == {Decision(False, why)}
    assert {r for r in found if found[r] != before[r]} == {r for r in found if r.startswith("response-3")}
    assert any(decision.reason.endswith("no reference to compare with") for decision in found.values())


def test_a_revision_without_a_reward_is_not_admitted_even_with_the_guard_off(database: Database) -> None:
    replace_pairs(database, SCORES, LOWEST, RECIPE)
    revise_all(database)
    revision = next(r for _, kept, _, r in pairs(database) if kept)
    fail(database, f"'{revision}'")

    def admit_all(page: Sequence[Admissible]) -> dict[str, Decision]:
        rewards = {r.response_id: (r.response_reward, r.revision_reward, None, r.failure) for r in page}
        return {response: admit(*values) for response, values in rewards.items()}

    decide_admissions(database, "run", "scorer", admit_all)
    query = "SELECT revision_id, admit_reason FROM pairs WHERE kept AND NOT admitted"
    assert database.fetch(query) == [(revision, "no reward: odd")]


def test_later_decisions_hold_only_while_the_revision_is_the_same(database: Database) -> None:
    replace_pairs(database, SCORES, LOWEST, RECIPE)
    database.execute(
        "UPDATE pairs SET admitted = true, admit_reason = 'a', weighed = true, weigh_reason = 'w' WHERE kept"
    )
    columns = "revision_id, admitted, admit_reason, weighed, weigh_reason"
    query = f"SELECT {columns} FROM pairs WHERE kept ORDER BY response_id"
    before = database.fetch(query)
    replace_pairs(database, SCORES, LOWEST, RECIPE)
    assert database.fetch(query) == before != []

    replace_pairs(database, SCORES, LOWEST, replace(RECIPE, model="another"))
    after = database.fetch(query)
    assert {row[0] for row in after}.isdisjoint(row[0] for row in before)
    assert {row[1:] for row in after} == {(None, None, None, None)}


def test_the_median_is_of_the_responses(database: Database) -> None:
    rewards = sorted(c.response_reward for c in rows(database) if c.response_reward is not None)
    assert median_reward(database, SCORES) == rewards[len(rewards) // 2]
    assert median_reward(database, RunScores("run", "another", "scorer")) is None
