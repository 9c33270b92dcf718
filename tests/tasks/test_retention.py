"""Only what no kept run needs is removed, and rows, paid answers and reports never are."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from figa_core.storage.runs import Findings, save_findings, save_run
from figa_core.storage.trainings import Training, save_training
from tasks.retention import Waiting, plan_cleaning, remove
from tasks.workspace import Workspace

NOW = datetime.now(UTC)
BEFORE = NOW - timedelta(days=30)
LONG_AGO = NOW - timedelta(days=90)


class Old:
    """A workspace whose files and runs are ninety days old unless a test says otherwise."""

    def __init__(self, directory: Path, database: Path) -> None:
        self.workspace = Workspace(directory)
        directory.mkdir()
        shutil.copy(database, self.workspace.database.path)  # sooner than creating one for each test

    def run(
        self, run_id: str, *, ended: datetime = LONG_AGO, model: Path | str = "/models/base", **found: Any
    ) -> None:
        database = self.workspace.database
        config = {"generation": {"model": str(model)}, "workspace": {"path": str(self.workspace.directory)}}
        save_run(database, run_id, run_id, config, None)
        save_findings(database, run_id, Findings(**found))
        database.execute(
            "UPDATE runs SET status = 'completed', started_at = $t, ended_at = $t WHERE run_id = $run",
            t=ended,
            run=run_id,
        )

    def shards(self, name: str) -> Path:
        return self.file(f"shards/{name}/manifest.json").parent

    def training(
        self, name: str, shards: str, *, model: Path | str = "/models/base", finished: bool = True
    ) -> Path:
        job = {"shards": str(self.workspace.shards(shards)), "model": str(model)}
        text = json.dumps({"job": job} if finished else job)
        path = self.file(f"trainings/{name}/{'manifest' if finished else 'job'}.json", text).parent
        self.file(f"trainings/{name}/model/config.json")
        return path

    def file(self, name: str, text: str = "{}") -> Path:
        path = self.workspace.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def age(self) -> None:
        for path in self.workspace.directory.rglob("*"):
            os.utime(path, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))

    def removable(self) -> set[str]:
        planned = plan_cleaning(self.workspace, BEFORE)
        return {each.path.relative_to(self.workspace.directory).as_posix() for each in planned.removable}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = Workspace(tmp_path_factory.mktemp("empty")).database
    database.create()
    return database.path


@pytest.fixture
def old(tmp_path: Path, empty: Path) -> Old:
    return Old(tmp_path / "workspace", empty)


def test_what_only_an_old_run_needs_is_removable_and_what_a_kept_run_needs_is_not(old: Old) -> None:
    for name in ("old", "new"):
        old.shards(name)
        old.training(f"of-{name}", name)
    old.run("run-old", shard_set_id="old", trainings={"figa": "of-old"})
    old.run("run-new", ended=NOW, shard_set_id="new", trainings={"figa": "of-new"})
    old.age()
    assert old.removable() == {"shards/old", "trainings/of-old"}


def test_what_both_need_is_kept(old: Old) -> None:
    old.shards("both")
    old.training("of-both", "both")
    for run, ended in (("run-old", LONG_AGO), ("run-new", NOW)):
        old.run(run, ended=ended, shard_set_id="both", trainings={"figa": "of-both"})
    old.age()
    assert old.removable() == set()


def test_every_training_on_a_kept_runs_shards_is_kept_also_an_unfinished_one_and_its_sweep(old: Old) -> None:
    old.shards("new")
    old.training("of-a-comparison", "new")
    old.training("unfinished", "new", finished=False)
    old.file("trainings/unfinished/sweep.json", json.dumps({"sweep_id": "needed"}))
    for sweep in ("needed", "other"):
        old.file(f"sweeps/{sweep}/manifest.json")
    old.run("run-new", ended=NOW, shard_set_id="new")
    old.age()
    assert old.removable() == {"sweeps/other"}


@pytest.mark.parametrize("is_older", [False, True])
def test_the_reward_models_of_a_kept_training_by_rewards_are_kept(is_older: bool, old: Old) -> None:
    model = str(old.training("judging", "old") / "model")
    reward = {"reward_model": model} if is_older else {"rewards": [{"function": "m:f"}, {"model": model}]}
    old.file("trainings/by-rewards/manifest.json", json.dumps({"job": reward}))
    old.run("run-new", ended=NOW, trainings={"grpo": "by-rewards"})
    old.age()
    assert old.removable() == set()


def test_a_training_recorded_for_a_kept_run_is_kept_although_no_file_says_whose_it_is(old: Old) -> None:
    old.file("trainings/by-rewards/manifest.json")
    old.run("run-new", ended=NOW)
    row = Training("by-rewards", "run-new", "grpo", "some-set", "p", "d", 1, 1.0)
    save_training(old.workspace.database, row, "fingerprint")
    old.age()
    assert old.removable() == set()


def test_the_models_from_which_a_kept_run_descends_are_kept(old: Old) -> None:
    first = old.training("first", "old")
    second = old.training("second", "old", model=first / "model")
    old.training("third", "old", model="/models/base")
    old.run("run-old", shard_set_id="old", trainings={"figa": "first"})
    old.run("run-new", ended=NOW, model=second / "model")
    old.age()
    assert old.removable() == {"trainings/third"}


def test_a_workspace_that_was_moved_keeps_them_too(old: Old) -> None:
    for name in ("needed", "other"):
        old.training(name, "old")
    old.run("run-new", ended=NOW, model=old.workspace.training("needed") / "model")
    old.age()
    moved = old.workspace.directory.rename(old.workspace.directory.with_name("moved"))
    old.workspace = Workspace(moved)
    assert old.removable() == {"trainings/other"}


def test_jobs_and_merged_models_of_a_workspace_that_was_moved_keep_what_they_name(old: Old) -> None:
    adapter = old.training("first", "old") / "model"
    old.training("second", "other", model=adapter)
    old.training("unneeded", "old")
    old.file("merged/of-first/merged.json", json.dumps({"adapter": str(adapter)}))
    old.run("run-new", ended=NOW, trainings={"figa": "second"})
    old.age()
    old.workspace = Workspace(old.workspace.directory.rename(old.workspace.directory.with_name("moved")))
    assert old.removable() == {"trainings/unneeded"}


def test_the_form_of_a_reward_model_is_kept_as_long_as_a_kept_run_needs_the_model(
    old: Old, tmp_path: Path
) -> None:
    for name in ("judging", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(bytes(1000))
        old.file(f"reward-models/of-{name}/config.json")
        link = old.workspace.reward_form(f"of-{name}") / "model.safetensors"
        link.symlink_to(tmp_path / name / "model.safetensors")
    old.run("run-new", ended=NOW, model=tmp_path / "judging")
    old.age()
    os.utime(old.workspace.reward_form("of-other"), (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    assert old.removable() == {"reward-models/of-other"}
    planned = plan_cleaning(old.workspace, BEFORE)
    assert planned.size == 2, "the model itself stays"
    assert remove(old.workspace, planned)
    assert (tmp_path / "other" / "model.safetensors").is_file()


def test_what_a_process_works_on_is_needed_with_its_model_however_long_ago_it_wrote(old: Old) -> None:
    model = old.training("first", "used") / "model"
    old.training("waiting", "used", model=model, finished=False)
    old.age()
    with FileLock(old.workspace.directory / "trainings/waiting.lock"):
        assert old.removable() == set()
    assert old.removable() == {"trainings/first", "trainings/waiting"}


def test_a_merged_model_is_kept_with_its_adapter(old: Old) -> None:
    adapter = old.training("adapter", "old")
    for name, of in (("needed", adapter / "model"), ("other", "/elsewhere/adapter")):
        old.file(f"merged/{name}/merged.json", json.dumps({"adapter": str(of)}))
    old.run("run-new", ended=NOW, model=adapter / "model")
    old.age()
    assert old.removable() == {"merged/other"}


def test_what_was_written_lately_is_kept_whoever_it_belongs_to(old: Old) -> None:
    old.training("lately", "of-no-run")
    old.training("long-ago", "of-no-run")
    old.file("logs/old.log")
    old.file("scratch/score/left.parquet")
    old.age()
    (old.workspace.training("lately") / "model" / "config.json").touch()
    old.file("logs/new.log")
    assert old.removable() == {"trainings/long-ago", "logs/old.log", "scratch/score"}


def test_a_training_under_way_keeps_its_shards_although_no_kept_run_asked_for_it(old: Old) -> None:
    for name in ("used", "unused"):
        old.shards(name)
    under_way = old.training("under-way", "used", finished=False)
    old.run("run-old", shard_set_id="used")
    old.age()
    (under_way / "job.json").touch()
    assert old.removable() == {"shards/unused"}


def test_a_sweep_under_way_keeps_what_it_reads_although_no_kept_run_asked_for_it(old: Old) -> None:
    for name in ("used", "unused"):
        old.shards(name)
    model = old.training("first", "unused") / "model"
    job = {"shards": str(old.workspace.shards("used")), "model": str(model)}
    under_way = old.file("sweeps/under-way/job.json", json.dumps(job))
    old.run("run-old", shard_set_id="used")
    old.age()
    under_way.touch()
    assert old.removable() == {"shards/unused"}


def test_what_a_run_names_that_waits_for_its_turn_is_kept_with_all_that_it_was_made_from(old: Old) -> None:
    old.shards("first")
    old.training("parent", "first")
    old.shards("waiting")
    old.shards("nobodys")
    old.age()
    waiting = Waiting(
        frozenset({old.workspace.shards("waiting"), old.workspace.training("parent") / "model"})
    )
    kept_without = {each.path.name for each in plan_cleaning(old.workspace, BEFORE).removable}
    assert {"waiting", "parent", "nobodys"} <= kept_without
    removable = {each.path.name for each in plan_cleaning(old.workspace, BEFORE, waiting).removable}
    assert "nobodys" in removable
    assert not removable & {"waiting", "parent"}


@pytest.mark.parametrize(("named", "kept"), [("run-a", "a"), ("", "b"), ("run-none", "")])
def test_a_run_that_a_waiting_run_continues_is_kept_with_its_trainings(
    named: str, kept: str, old: Old
) -> None:
    for name, days in (("a", 1), ("b", 0)):
        old.shards(name)
        old.training(f"of-{name}", name)
        ended = LONG_AGO - timedelta(days=days)
        old.run(f"run-{name}", ended=ended, shard_set_id=name, trainings={"figa": f"of-{name}"})
    old.age()
    planned = plan_cleaning(old.workspace, BEFORE, Waiting(run_ids=frozenset({named})))
    expected = {f"{each}{name}" for name in {"a", "b"} - {kept} for each in ("", "of-")}
    assert {each.path.name for each in planned.removable} == expected
    assert planned.kept_runs == ((f"run-{kept}",) if kept else ())


def test_all_runs_are_kept_if_a_waiting_run_may_continue_any(old: Old) -> None:
    for name in ("a", "b"):
        old.shards(name)
        old.run(f"run-{name}", ended=LONG_AGO, shard_set_id=name, trainings={})
    old.age()
    planned = plan_cleaning(old.workspace, BEFORE, Waiting(all_runs=True))
    assert sorted(planned.kept_runs) == ["run-a", "run-b"]
    assert planned.removable == ()


def test_a_reward_model_of_a_list_is_kept_as_the_only_one_is(old: Old) -> None:
    for name in ("judging", "other"):
        old.training(name, "old")
    rewards = [{"name": "own", "model": str(old.workspace.training("judging") / "model")}]
    old.run("run-new", ended=NOW)
    config = {"rewards": rewards, "workspace": {"path": str(old.workspace.directory)}}
    save_run(old.workspace.database, "run-2", "run-2", config, None)
    old.age()
    assert old.removable() == {"trainings/other"}


def test_files_that_are_removed_during_the_planning_count_as_not_there(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = old.training("under-way", "set", finished=False)
    checkpoint = old.file("trainings/under-way/checkpoints/step-1/state").parent
    old.file("scratch/gone/x")
    old.age()
    (under_way / "job.json").touch()
    walk = os.walk

    def removing(top: Path) -> Any:
        for found in walk(top):
            if "state" in found[2]:
                shutil.rmtree(checkpoint, ignore_errors=True)
            yield found

    monkeypatch.setattr(os, "walk", removing)
    assert old.removable() == {"scratch/gone"}


def test_rows_paid_answers_and_reports_stay(old: Old) -> None:
    kept = ("journal/revise.jsonl", "reports/r.html", "verdicts/r.json", "templates/r/a.jinja", "tracking/x")
    for name in kept:
        old.file(name)
    old.shards("old")
    old.run("run-old", shard_set_id="old")
    old.age()
    planned = plan_cleaning(old.workspace, BEFORE)
    assert planned.old_runs == ("run-old",)
    assert [each.path.name for each in remove(old.workspace, planned)] == ["old"]
    assert all((old.workspace.directory / name).is_file() for name in kept)
    assert old.workspace.database.value("SELECT count(*) FROM runs") == 1
    assert list((old.workspace.directory / "shards").iterdir()) == []
    assert list(old.workspace.scratch("removed").iterdir()) == []


def test_a_plan_removes_nothing_and_counts_bytes(old: Old) -> None:
    old.training("unneeded", "old")
    old.age()
    planned = plan_cleaning(old.workspace, BEFORE)
    assert planned.size == sum(
        p.stat().st_size for p in old.workspace.training("unneeded").rglob("*") if p.is_file()
    )
    assert old.workspace.training("unneeded").is_dir()


def test_a_training_that_a_process_works_on_is_left_alone(old: Old) -> None:
    for name in ("under-way", "idle"):
        old.training(name, "old", finished=False)
    old.age()
    planned = plan_cleaning(old.workspace, BEFORE)
    lock = FileLock(old.workspace.directory / "trainings/under-way.lock")
    with lock:
        assert [each.path.name for each in remove(old.workspace, planned)] == ["idle"]
    assert old.workspace.training("under-way").is_dir()


@pytest.mark.parametrize("break_it", [lambda path: path.write_text("{"), lambda path: path.unlink()])
def test_a_job_that_cannot_be_read_makes_no_error(old: Old, break_it: Callable[[Path], Any]) -> None:
    break_it(old.training("damaged", "new", finished=False) / "job.json")
    old.age()
    assert old.removable() == {"trainings/damaged"}
