"""A backup is whole and consistent although a run goes on, and only a whole one is restored."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from figa_core.errors import StorageError, WorkspaceError
from figa_core.processes.children import child_environment
from figa_core.processes.lease import workspace_lease
from figa_core.storage.runs import save_run
from figa_core.training.checkpoints import MANIFEST_NAME
from tasks import backup
from tasks.backup import NAME, back_up, read_backup, restore
from tasks.workspace import Workspace

WRITER = """
import sys, time
from pathlib import Path
from tasks.workspace import Workspace
workspace, number = Workspace(Path(sys.argv[1])), 0
journal = workspace.journal.open("a")
while True:  # a run's order: first the journal, then a batch in one transaction
    journal.write(f"{number}\\n"); journal.flush()
    rows = [{"name": f"{half}{number}", "value": number} for half in "ab"]
    workspace.database.insert("marks", rows)
    number += 1
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One run, a finished training, a dropped one, an unfinished one, and files that are not copied."""
    made = Workspace(tmp_path / "workspace")
    made.database.create()
    config = {
        "prompts": {"path": "/data/prompts.jsonl"},
        "rewards": [{"name": "a", "model": "/models/a"}, {"name": "b", "judge": "gpt-4.1"}],
        "workspace": {"path": str(made.directory)},
    }
    save_run(made.database, "run-1", "a run", config, None)
    for name, text in {
        "journal/revise.jsonl": "{}\n",
        "trainings/done/manifest.json": "{}",
        "trainings/done/model/config.json": "{}",
        "trainings/dropped/dropped.json": "{}",
        "trainings/under-way/checkpoints/step-1/state": "half",
        "shards/set/manifest.json": "{}",
        "shards/set/pairs-00000.parquet": "rows",
        "shards/torn/pairs-00000.parquet": "half",
        "reports/run-1.html": "<html>",
        "logs/train.log": "a line\n",
        "scratch/score/x.parquet": "x",
        "merged/m/model.safetensors": "x",
        "prefect/prefect.db": "x",
        "trainings/done.lock": "",
    }.items():
        path = made.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


def take(workspace: Workspace, target: Path) -> backup.Backup:
    return back_up(workspace, target, version="1.2", taken_at="today")


def test_a_backup_holds_whole_results_and_what_was_paid_for_and_says_what_else_is_needed(
    workspace: Workspace, tmp_path: Path
) -> None:
    taken = take(workspace, tmp_path / "backups" / "monday")
    assert sorted(taken.files) == [
        "figa.duckdb",
        "journal/revise.jsonl",
        "logs/train.log",
        "reports/run-1.html",
        "shards/set/manifest.json",
        "shards/set/pairs-00000.parquet",
        "trainings/done/manifest.json",
        "trainings/done/model/config.json",
        "trainings/dropped/dropped.json",
    ]
    assert taken.outside == {"prompts.path": "/data/prompts.jsonl", "rewards.0.model": "/models/a"}
    assert read_backup(tmp_path / "backups" / "monday") == taken
    copied = {
        p.relative_to(tmp_path / "backups" / "monday").as_posix() for p in tmp_path.rglob("monday/**/*")
    }
    assert {name for name in copied if (tmp_path / "backups" / "monday" / name).is_file()} == {
        *taken.files,
        NAME,
    }


def test_a_restored_workspace_has_the_same_files_with_their_times(
    workspace: Workspace, tmp_path: Path
) -> None:
    taken = take(workspace, tmp_path / "b")
    assert restore(tmp_path / "b", tmp_path / "new") == taken
    for name in taken.files:
        there, back = workspace.directory / name, tmp_path / "new" / name
        if name != "figa.duckdb":
            assert (back.read_bytes(), back.stat().st_mtime) == (there.read_bytes(), there.stat().st_mtime)
    assert Workspace(tmp_path / "new").database.value("SELECT name FROM runs") == "a run"
    assert not (tmp_path / "new" / NAME).exists()


@pytest.mark.slow
def test_a_backup_of_a_database_under_heavy_writing_has_whole_batches_and_a_journal_not_older(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.journal.write_text("")
    command = [sys.executable, "-c", WRITER, str(workspace.directory)]
    with subprocess.Popen(command, env=child_environment()) as writer:
        try:
            while not workspace.journal.read_text().count("\n") > 5:
                assert writer.poll() is None
                time.sleep(0.05)
            for number in range(2):
                take(workspace, tmp_path / f"b{number}")
        finally:
            writer.kill()
    for number in range(2):
        copied = Workspace(tmp_path / f"b{number}")
        halves = copied.database.fetch("SELECT value, count(*) FROM marks GROUP BY 1 ORDER BY 1")
        assert halves
        assert halves == [(value, 2) for value in range(len(halves))]
        assert copied.journal.read_text().count("\n") >= len(halves)


def test_a_copy_that_would_hold_up_a_run_ends_with_the_reason(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_MOST_WAIT_S", 0.0)
    with (
        workspace_lease(workspace.directory, owner="a run"),
        pytest.raises(StorageError, match=r"takes longer than 0 s.*faster disk, or after the run"),
    ):
        take(workspace, tmp_path / "b")
    assert not list(tmp_path.glob("b*"))
    assert take(workspace, tmp_path / "b").files  # without a run it may take its time


def test_a_model_that_is_removed_while_it_is_copied_counts_as_not_there(
    workspace: Workspace, tmp_path: Path
) -> None:
    model = workspace.directory / "trainings/done/model/config.json"

    def remove_it(name: str) -> None:
        if name.endswith(f"done/{MANIFEST_NAME}"):
            model.unlink()

    taken = back_up(workspace, tmp_path / "b", version="1", taken_at="now", on_file=remove_it)
    assert not any(name.startswith("trainings/done/") for name in taken.files)
    assert not (tmp_path / "b/trainings/done").exists()
    assert (tmp_path / "b/trainings/dropped/dropped.json").is_file()


def test_a_damaged_backup_is_refused_with_the_names_of_the_files_and_leaves_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    take(workspace, tmp_path / "b")
    (tmp_path / "b/shards/set/pairs-00000.parquet").write_text("rowz")
    (tmp_path / "b/reports/run-1.html").unlink()
    with pytest.raises(StorageError, match=r"pairs-00000\.parquet has changed") as refused:
        restore(tmp_path / "b", tmp_path / "new")
    assert "reports/run-1.html is missing" in str(refused.value)
    assert not list(tmp_path.glob("new*"))


def test_half_a_backup_and_one_of_a_newer_version_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    take(workspace, tmp_path / "b")
    path = tmp_path / "b" / NAME
    fields = {**json.loads(path.read_text()), "schema": 99}
    del fields["sha256"]
    path.write_text(json.dumps(fields))
    with pytest.raises(StorageError, match=r"figa 1\.2 \(schema 99\).*Update figa"):
        restore(tmp_path / "b", tmp_path / "new")
    path.unlink()
    with pytest.raises(StorageError, match=r"no whole backup here"):
        restore(tmp_path / "b", tmp_path / "new")


def test_nothing_is_written_over_and_no_backup_lies_in_its_workspace(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(WorkspaceError, match="lies in"):
        take(workspace, workspace.directory / "backup")
    take(workspace, tmp_path / "b")
    with pytest.raises(WorkspaceError, match="exists already"):
        take(workspace, tmp_path / "b")
    with pytest.raises(WorkspaceError, match="exists already"):
        restore(tmp_path / "b", workspace.directory)
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "b", tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        restore(tmp_path / "b", tmp_path / "file" / "workspace")
