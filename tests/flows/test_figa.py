"""The whole flow through the command line, on a real Prefect server, with two real training ranks."""

import sqlite3

import pytest

from figa_core.sandbox.teacher_process import TeacherProcess
from flows.server.process import PrefectServer

from .conftest import KEY, Project, find

pytestmark = pytest.mark.distributed


def test_a_run_ends_with_a_report_and_a_second_one_repeats_nothing(
    served_project: Project, teacher: TeacherProcess, prefect_server: PrefectServer
) -> None:
    first = served_project.run()

    assert first.returncode == 0, first.stdout
    assert "FIGA" in first.stdout
    assert "Report: file://" in first.stdout
    [report] = (served_project.workspace / "reports").iterdir()
    html = report.read_text(encoding="utf-8")
    assert "<html" in html
    assert "weighed responses were generated as the" in html
    calls = teacher.requests()
    assert calls > 0

    # Prefect shows the run under a readable name, with its stages and the artifact with report and funnel.
    of_the_run = {"flow_runs": {"id": {"any_": [served_project.flow_run(prefect_server)["id"]]}}}
    tasks = {run["name"] for run in find(prefect_server, "task_runs", **of_the_run)}
    assert {"generate train responses by base", "train figa", "evaluate FIGA", "report"} <= tasks
    artifacts = [a for a in find(prefect_server, "artifacts", **of_the_run) if a["key"] == "figa-report"]
    assert report.as_uri() in artifacts[0]["data"]
    assert "weighted" in artifacts[0]["data"]

    second = served_project.run()
    assert second.returncode == 0, second.stdout
    assert teacher.requests() == calls
    assert "nothing left to do" in second.stdout

    run = served_project.status()
    steps = {step["name"]: step["rows"] for step in run["steps"]}
    assert run["status"] == "completed"
    assert run["open_revisions"] == 0
    assert 0 < run["spending"]["usd"] < 1
    assert f"${run['spending']['usd']:.2f}" in html
    assert 0 < steps["weighted"] <= steps["revised"] <= steps["kept"] == calls < steps["rows"] == 60
    assert {row["label"] for row in run["evaluations"]} == {"base", "FIGA"}
    assert {row["metric"] for row in run["evaluations"]} == {"reward", "verifier"}

    # No file of the run contains the key.
    for path in served_project.workspace.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_without_a_configured_api_a_run_starts_its_own_server_and_stops_it(project: Project) -> None:
    del project.environment["PREFECT_API_URL"]
    project.settings["filter"]["response_reward_below"] = -1e9

    result = project.run()

    assert result.returncode == 1
    assert "response_reward_below" in result.stdout  # the run got as far as its filter
    with sqlite3.connect(project.workspace / "prefect" / "prefect.db") as database:
        [(name, state)] = database.execute("SELECT name, state_type FROM flow_run").fetchall()
    database.close()
    assert (name, state) == (project.run_name, "FAILED")
