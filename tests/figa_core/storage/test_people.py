"""What people threw out or corrected decides the next pairs, and without it nothing changes."""

from dataclasses import replace

import pytest

from figa_core.errors import InputError
from figa_core.records import RevisionStatus, Score
from figa_core.storage import people, revisions
from figa_core.storage.database import Database
from figa_core.storage.people import EXCLUDED
from figa_core.storage.revisions import iter_open
from figa_core.storage.scores import save_scores

from .filled import RECIPE, RUN, SCORER, admit_all, admitted, admitted_pairs, keep_all, settle


def reasons(database: Database) -> dict[str, tuple[bool | None, str | None]]:
    rows = database.fetch("SELECT revision_id, weighed, weigh_reason FROM pairs WHERE run_id = $run", run=RUN)
    return {revision: (weighed, reason) for revision, weighed, reason in rows}


def test_a_pair_that_is_thrown_out_stays_out_also_of_a_run_again_until_it_is_put_back(
    database: Database,
) -> None:
    first, *others = admitted(database)
    database.execute("UPDATE pairs SET weighed = true, weigh_reason = 'weighed' WHERE run_id = $run", run=RUN)
    people.exclude(database, first, "ada", "wrong")
    assert people.count_excluded(database, RUN) == 1
    keep_all(database)
    assert people.settle_exclusions(database, RUN) == 1
    assert [pair.pair_id for pair in admitted_pairs(database)] == others
    assert reasons(database)[first] == (False, EXCLUDED)
    assert reasons(database)[others[0]] == (True, "weighed")
    people.include(database, first)
    assert people.settle_exclusions(database, RUN) == 0
    assert [pair.pair_id for pair in admitted_pairs(database)] == [first, *others]
    assert reasons(database)[first] == (None, None)


def test_a_pair_that_is_thrown_out_stays_out_when_another_reviser_revises_its_response(
    database: Database,
) -> None:
    first, *others = admitted(database)
    people.exclude(database, first, "ada", "wrong")
    keep_all(database, recipe=replace(RECIPE, model="another"))
    revised = [request.revision_id for page in iter_open(database, RUN, 2) for request in page]
    assert not {first, *others} & set(revised)
    for revision in revised:
        settle(database, revision, RevisionStatus.SUCCEEDED)
    save_scores(database, [Score(revision, SCORER, 5.5) for revision in revised])
    admit_all(database)
    [again] = set(revised) & people.excluded_ids(database)
    assert people.shown_pair(database, again).excluded == "ada: wrong"
    assert people.count_excluded(database, RUN) == people.settle_exclusions(database, RUN) == 1
    assert {pair.pair_id for pair in admitted_pairs(database)} == {*revised} - {again}
    people.exclude(database, again, "bob", "wrong too")  # the first reason stays
    assert people.shown_pair(database, first).excluded == "ada: wrong"
    people.include(database, again)
    assert people.excluded_ids(database) == set()
    assert people.settle_exclusions(database, RUN) == 0
    assert {pair.pair_id for pair in admitted_pairs(database)} == {*revised}


def test_a_correction_takes_the_place_of_the_revision_is_scored_and_admitted_anew(database: Database) -> None:
    first, *others = admitted(database)
    database.execute("UPDATE pairs SET weighed = true, weigh_reason = 'weighed' WHERE run_id = $run", run=RUN)
    corrected = people.correct(database, first, "much better", "ada", based_on=first)
    assert (corrected.author, corrected.revised) == ("ada", "better")
    keep_all(database)
    new = corrected.current_id
    assert reasons(database)[new] == (None, None)
    assert reasons(database)[others[0]] == (True, "weighed")  # the others' decisions hold
    assert revisions.count_open(database, RUN) == 0  # nobody is asked for it
    save_scores(database, [Score(new, SCORER, 7.0)])
    admit_all(database)
    pairs = {pair.pair_id: pair for pair in admitted_pairs(database)}
    assert set(pairs) == {new, *others}
    assert (pairs[new].revision_text, pairs[new].revision_reward) == ("much better", 7.0)
    keep_all(database)  # a further run finds it as it was
    assert set(reasons(database)) == {new, *others}
    assert people.judged_ids(database, RUN) == {first, new, *others}
    assert people.count_corrected(database, RUN) == 1


def test_the_reviser_s_text_takes_a_correction_back_also_of_a_correction(database: Database) -> None:
    first, *others = admitted(database)
    one = people.correct(database, first, "one", "ada", based_on=first)
    keep_all(database)
    two = people.correct(database, one.current_id, "two", "bob", based_on=one.current_id)
    keep_all(database)
    assert set(reasons(database)) == {two.current_id, *others}
    back = people.correct(database, two.current_id, " better", "cy", based_on=two.current_id)
    assert (back.current_id, back.author) == (first, None)
    keep_all(database)
    assert set(reasons(database)) == {first, *others}


def test_a_corrected_pair_that_is_thrown_out_stays_out_whatever_its_text(database: Database) -> None:
    first, *others = admitted(database)
    people.exclude(database, first, "ada", "wrong")
    new = people.correct(database, first, "much better", "ada", based_on=first).current_id
    keep_all(database)
    save_scores(database, [Score(new, SCORER, 7.0)])
    admit_all(database)
    assert people.excluded_ids(database) == {first, new}
    assert [pair.pair_id for pair in admitted_pairs(database)] == others
    assert people.settle_exclusions(database, RUN) == 1


def test_the_calls_for_a_revision_are_paid_by_the_run_also_after_its_correction(database: Database) -> None:
    first, *_ = admitted(database)
    call = {"call_id": "c", "subject_id": first, "attempt": 1, "sent_at": "2026-01-01", "estimated": False}
    database.insert("calls", [{**call, "purpose": "revision", "cost_usd": 0.5}])
    people.correct(database, first, "much better", "ada", based_on=first)
    keep_all(database)
    assert revisions.spent(database, RUN).usd == 0.5


def test_a_pair_that_is_not_stored_cannot_be_decided(database: Database) -> None:
    with pytest.raises(InputError, match="no such revision"):
        people.exclude(database, "nothing", "ada", "wrong")
    with pytest.raises(InputError, match="no such revision"):
        people.correct(database, "nothing", "x", "ada", based_on="nothing")
