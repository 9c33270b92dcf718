"""What a run's report says of people's judgements, and runs that have nothing to judge."""

import shutil
from pathlib import Path

import pytest

from figa_core.annotation.changes import Verdict
from figa_core.annotation.desk import Desk
from figa_core.errors import InputError
from figa_core.storage import people
from figa_core.storage.runs import Findings, find_run, save_findings, save_run
from tasks.annotate import job_of, open_desk, people_said
from tasks.workspace import Workspace
from tests.figa_core.annotation.made import RUN, SHARDS, new_desk


def judge(desk: Desk, name: str, verdict: Verdict) -> None:
    pair = desk.pair(0, name, blind=False)
    for stretch in pair["stretches"]:
        if stretch["key"]:
            desk.judge(SHARDS, pair["pair_id"], stretch["key"], name, verdict, blind=False)


def test_the_report_of_a_run_has_the_judgements_of_its_pairs_and_of_no_other_s(tmp_path: Path) -> None:
    desk, workspace = new_desk(tmp_path), Workspace(tmp_path)
    save_run(workspace.database, "another", "another", {}, None)
    judge(desk, "ada", Verdict.MATTERS)
    judge(desk, "bob", Verdict.DOES_NOT)
    desk.throw_out(SHARDS, "pair-b", "ada", "wrong")
    desk.correct(SHARDS, "pair-c", "ada", "better", based_on="pair-c")
    said = people_said(workspace, find_run(workspace.database, RUN))
    [judged] = said.schemes
    assert (judged.scheme, judged.annotators, judged.changes) == ("levenshtein", ("ada", "bob"), 1)
    assert (judged.matters.mean, judged.judged_twice) == (0.5, 1)
    assert (said.thrown_out, said.corrected) == (1, 0)  # the run has the correction when it runs again
    other = people_said(workspace, find_run(workspace.database, "another"))
    assert (other.schemes, other.thrown_out) == ((), 0)


def test_a_run_without_pairs_says_why_and_what_to_do(tmp_path: Path) -> None:
    new_desk(tmp_path)
    workspace = Workspace(tmp_path)
    with pytest.raises(InputError, match="has not come to the stage weigh"):
        open_desk(workspace, RUN, pairs_max=None, blind=False)
    save_findings(workspace.database, RUN, Findings(shard_set_id=SHARDS))
    job, manifest = job_of(workspace, find_run(workspace.database, RUN))
    assert (job.scheme, manifest.pairs) == ("levenshtein", 3)
    shutil.rmtree(workspace.shards(SHARDS))
    with pytest.raises(InputError, match="its shard set was removed"):
        open_desk(workspace, RUN, pairs_max=None, blind=False)
    assert people.excluded_ids(workspace.database) == set()
