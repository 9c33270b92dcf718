"""`figa backup`, `restore` and `clean` as a user calls them, and a run that continues from a backup."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from figa_core.errors import WorkspaceBusyError
from figa_core.llm import journal
from figa_core.llm.calls import CallAnswered
from figa_core.processes.lease import workspace_lease
from figa_core.sandbox.teacher_process import TeacherProcess
from flows.cli import app
from flows.operations.commands import age_in
from tasks.workspace import Workspace
from tests.flows.conftest import Project, wait_until

runner = CliRunner()


@pytest.mark.parametrize(
    ("text", "age"), [("30d", timedelta(days=30)), ("12h", timedelta(hours=12)), (" 2W ", timedelta(weeks=2))]
)
def test_an_age_has_a_unit(text: str, age: timedelta) -> None:
    assert age_in(text) == age


@pytest.mark.parametrize("text", ["", "30", "-1d", "1.5d", "d", "10 years"])
def test_an_age_without_one_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="not a time such as 30d"):
        age_in(text)


def test_clean_shows_first_and_removes_only_when_told_to_and_not_during_a_run(tmp_path: Path) -> None:
    Workspace(tmp_path).database.create()
    old = tmp_path / "shards" / "old"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    arguments = ["clean", "--older-than", "30d", "--workspace", str(tmp_path)]
    shown = runner.invoke(app, arguments).stdout
    assert "shards/old" in shown
    assert "Nothing was removed" in shown
    assert old.is_dir()
    with workspace_lease(tmp_path, owner="a run"):
        assert isinstance(runner.invoke(app, [*arguments, "--remove"]).exception, WorkspaceBusyError)
    assert old.is_dir()
    assert "Removed 1" in runner.invoke(app, [*arguments, "--remove"]).stdout
    assert not old.exists()
    assert "Nothing to remove" in runner.invoke(app, arguments).stdout


@pytest.mark.slow
@pytest.mark.distributed
def test_a_backup_of_a_running_run_is_continued_elsewhere_and_pays_for_no_answer_in_it_again(
    served_project: Project, tmp_path: Path
) -> None:
    with TeacherProcess(latency_s=0.5) as teacher:
        served_project.settings["revision"] |= {"base_url": teacher.base_url, "max_concurrency": 4}
        run = served_project.start_run()
        wait_until(lambda: teacher.requests() >= 8, run)
        copied = served_project.figa("backup", str(tmp_path / "b"), "-w", str(served_project.workspace))
        assert run.poll() is None, "the run ended before it was copied"
        run.kill()
        run.communicate()
        assert copied.returncode == 0, copied.stdout
        assert f"generation.model: {served_project.settings['generation']['model']}" in copied.stdout
        records = journal.read(tmp_path / "b" / "journal" / "revise.jsonl")
        calls = [record for record, _ in records if isinstance(record, CallAnswered)]
        answered = {call.subject_id for call in calls if call.value is not None}
        assert answered

        new = Workspace(tmp_path / "new")
        restored = served_project.figa("restore", str(tmp_path / "b"), "-w", str(new.directory))
        assert restored.returncode == 0, restored.stdout
        served_project.settings["workspace"]["path"] = str(new.directory)
        before = teacher.requests()
        done = served_project.run()
        assert done.returncode == 0, done.stdout
        rows = new.database.value("SELECT count(*) FROM pairs WHERE kept")
        assert teacher.requests() - before == rows - len(answered)
