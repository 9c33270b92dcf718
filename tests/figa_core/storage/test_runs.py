"""A run keeps its configuration, its end and its findings."""

import math

from figa_core.filtering import Thresholds
from figa_core.prompts.read import BadRow
from figa_core.storage import summary
from figa_core.storage.database import Database
from figa_core.storage.prompts import save_bad_rows
from figa_core.storage.runs import Findings, end_run, find_run, save_findings, save_run

from .filled import GENERATOR, HELD_OUT, RUN, SCORER, TRAIN


def test_a_run_that_starts_again_keeps_its_findings_and_drops_its_old_end(database: Database) -> None:
    save_findings(database, RUN, Findings(generator=GENERATOR, trainings={"figa": "t1"}))
    end_run(database, RUN, "failed", "a reason")
    save_run(database, RUN, "test", {"a": 2}, "another flow run")
    save_findings(database, RUN, Findings(scorer=SCORER, trainings={"sft": "t2"}))
    run = find_run(database, RUN)
    assert (run.status, run.message, run.ended_at) == ("running", None, None)
    assert run.found == Findings(GENERATOR, SCORER, trainings={"figa": "t1", "sft": "t2"})
    assert run.config == {"a": 2}


def test_bad_rows_are_counted_by_kind(database: Database) -> None:
    reasons = ("duplicate of row 1", "duplicate of row 2", "the prompt is empty")
    rows = [BadRow(number, reason) for number, reason in enumerate(reasons)]
    save_bad_rows(database, RUN, rows)
    save_bad_rows(database, RUN, rows)
    counts = summary.counts(database, RUN, GENERATOR)
    assert counts.bad_rows == {"duplicate": 2, "the prompt is empty": 1}
    assert (counts.training_prompts, counts.held_out_prompts) == (len(TRAIN), len(HELD_OUT))


def _stored(database: Database, settings: str) -> None:
    database.execute("UPDATE runs SET settings = $settings WHERE run_id = $run", run=RUN, settings=settings)


OLDER = (
    '{"generator": "g", "scorer": "s", "templates": ["without", "with"], "shards": "shards-1", '
    '"thresholds": {"response_reward_below": 1.5, "reference_reward_above": null, "reward_gap_above": 2.0}, '
    '"training.figa": "t1", "training.sft_revised": "t2"}'
)


def test_findings_of_an_earlier_release_are_read_and_kept_when_others_are_added(database: Database) -> None:
    _stored(database, OLDER)
    found = find_run(database, RUN).found
    assert (found.generator, found.scorer, found.shard_set_id) == ("g", "s", "shards-1")
    assert found.templates == ("without", "with")
    assert found.trainings == {"figa": "t1", "sft_revised": "t2"}

    save_findings(database, RUN, Findings(shard_set_id="shards-2", trainings={"figa": "t3"}))
    again = find_run(database, RUN).found
    assert (again.generator, again.scorer, again.templates) == ("g", "s", ("without", "with"))
    assert again.shard_set_id == "shards-2"
    assert again.trainings == {"figa": "t3", "sft_revised": "t2"}


def test_a_threshold_that_is_a_quantile_of_no_values_is_read_as_nan(database: Database) -> None:
    _stored(database, OLDER)
    older = find_run(database, RUN).found.thresholds
    save_findings(database, RUN, Findings(thresholds=Thresholds(1.5, math.nan, 2.0)))
    for thresholds in (older, find_run(database, RUN).found.thresholds):
        assert thresholds is not None
        assert (thresholds.response_reward_below, thresholds.reward_gap_above) == (1.5, 2.0)
        assert math.isnan(thresholds.reference_reward_above)


def test_a_run_that_has_found_nothing_yet_has_empty_findings(database: Database) -> None:
    assert find_run(database, RUN).found == Findings()
