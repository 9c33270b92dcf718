"""Which rows go to the reviser and into the shards: never held-out or excluded ones."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.records import RevisionStatus, Score
from figa_core.storage import summary
from figa_core.storage.admitted import save_skipped, save_weighed_shards
from figa_core.storage.database import Database
from figa_core.storage.prompts import save_bad_rows, save_prompts
from figa_core.storage.revisions import count_open, iter_open, statuses
from figa_core.storage.scores import count_unscored, revisions_of, save_scores

from .filled import (
    GENERATOR,
    HELD_OUT,
    OTHER,
    RECIPE,
    RUN,
    SCORER,
    TRAIN,
    admit_all,
    admitted,
    admitted_pairs,
    candidates,
    exclude,
    keep_all,
    kept,
    response,
    settle,
    undecided,
)


def test_a_kept_pair_is_asked_for_until_its_status_is_final(database: Database) -> None:
    first, second, third, *others = kept(database)
    settle(database, first, RevisionStatus.SUCCEEDED)
    settle(database, second, RevisionStatus.FAILED, retryable=True)
    settle(database, third, RevisionStatus.REFUSED)
    open_rows = {r.revision_id for page in iter_open(database, RUN, 2) for r in page}
    assert open_rows == {second, *others}
    assert count_open(database, RUN) == len(open_rows)
    assert count_open(database, OTHER) == 0


def test_another_run_that_keeps_the_same_pair_finds_its_revision_done(database: Database) -> None:
    first, *_ = kept(database)
    settle(database, first, RevisionStatus.SUCCEEDED)
    save_prompts(database, OTHER, TRAIN)
    assert first not in kept(database, OTHER)
    assert statuses(database, OTHER) == {"pending": 5, "succeeded": 1}


def test_filtering_again_replaces_decisions_and_keeps_those_of_later_stages(database: Database) -> None:
    revisions = admitted(database)
    first, second, *_ = candidates(database)
    keep_all(database, but=first.response_id)

    counts = summary.counts(database, RUN, GENERATOR)
    assert (counts.kept, counts.not_kept) == (len(revisions) - 1, {"good enough": 1})
    assert counts.admitted == len(revisions) - 1

    exclude(database, first.response_id, second.response_id)
    keep_all(database)
    counts = summary.counts(database, RUN, GENERATOR)
    assert (counts.kept, counts.not_kept) == (len(revisions) - 2, {})
    assert counts.admitted == len(revisions) - 2


def test_admitted_pairs_hold_all_that_weighing_needs_and_no_held_out_prompt(database: Database) -> None:
    for revision in kept(database):
        settle(database, revision, RevisionStatus.SUCCEEDED)
        save_scores(database, [Score(revision, SCORER, 5.5)])
    source = revisions_of(RUN)
    assert count_unscored(database, source, SCORER) == 0
    assert {row.revision_reward for row in admit_all(database)} == {5.5}

    pairs = admitted_pairs(database)

    assert len(pairs) == len(TRAIN)
    assert {p.messages for p in pairs} == {p.messages for p in TRAIN}
    assert all((p.response_text, p.revision_text) == ("an answer", "better") for p in pairs)
    assert [p.pair_id for p in pairs] == sorted(p.pair_id for p in pairs)
    assert admitted_pairs(database, OTHER) == []


def test_held_out_prompts_are_neither_revised_nor_weighed(database: Database) -> None:
    revisions = admitted(database)
    held_out = {p.messages for p in HELD_OUT}
    database.execute("UPDATE revisions SET status = 'pending'")
    asked = {r.messages for page in iter_open(database, RUN, 2) for r in page}
    weighed = {p.messages for p in admitted_pairs(database)}
    assert len(asked) == len(weighed) == len(revisions)
    assert not held_out & (asked | weighed)


def test_the_responses_of_an_excluded_prompt_are_not_candidates(database: Database) -> None:
    assert len(kept(database)) == len(TRAIN)
    exclude(database, TRAIN[0].prompt_id)
    assert TRAIN[0].prompt_id not in {c.prompt_id for c in candidates(database)}
    keep_all(database)
    assert count_open(database, RUN) == len(TRAIN) - 1


def test_a_reviser_gets_the_prompt_the_response_and_the_reference_if_there_is_one(
    database: Database,
) -> None:
    kept(database)
    requests = {r.messages: r for page in iter_open(database, RUN, 2) for r in page}
    for one in TRAIN:
        request = requests[one.messages]
        assert (request.response_id, request.response) == (response(one).response_id, "an answer")
        assert request.reference == one.reference


def test_another_template_or_model_is_another_revision(database: Database) -> None:
    first = set(kept(database))
    for recipe in (replace(RECIPE, model="n"), replace(RECIPE, templates={True: "a", False: "b"})):
        keep_all(database, recipe=recipe)
        now = {r.revision_id for page in iter_open(database, RUN, 2) for r in page}
        assert len(now) == len(first)
        assert not now & first


def test_decisions_about_a_revision_do_not_hold_for_another_one(database: Database) -> None:
    revisions = admitted(database)
    keep_all(database)
    assert len(admitted_pairs(database)) == len(revisions)
    keep_all(database, recipe=replace(RECIPE, model="n"))
    assert admitted_pairs(database) == []


def test_only_pairs_without_a_weighing_are_undecided(database: Database, tmp_path: Path) -> None:
    first, second, *others = revisions = admitted(database)
    assert undecided(database) == revisions
    shard = tmp_path / "shards[1]" / "part.parquet"
    shard.parent.mkdir()
    pq.write_table(pa.table({"pair_id": [first, "of another run"]}), shard)
    save_weighed_shards(database, RUN, [shard])
    assert undecided(database) == [second, *others]
    save_skipped(database, RUN, {second: "too long"})
    assert undecided(database) == others


def test_a_revision_that_was_not_admitted_is_not_weighed(database: Database) -> None:
    revisions = admitted(database)
    admit_all(database, but=candidates(database)[0].response_id)
    assert len(undecided(database)) == len(revisions) - 1 == len(admitted_pairs(database))


def test_rows_may_be_settled_while_pages_are_read(database: Database) -> None:
    rows = kept(database)
    seen = []
    for page in iter_open(database, RUN, 2):
        for request in page:
            seen.append(request.revision_id)
            settle(database, request.revision_id, RevisionStatus.SUCCEEDED)
    assert seen == rows


def test_a_run_without_a_row_to_decide_is_not_an_error(database: Database) -> None:
    kept(database)
    exclude(database, *(p.prompt_id for p in TRAIN))
    keep_all(database)
    assert admit_all(database) == []
    save_skipped(database, RUN, {})
    save_bad_rows(database, RUN, [])
    save_prompts(database, RUN, [])
    assert count_open(database, RUN) == 0
