"""The whole flow through the command line, on a real Prefect server, with two real training ranks."""

import json
import sqlite3
from pathlib import Path

import duckdb
import pytest

from figa_core.sandbox.teacher_process import TeacherProcess
from flows.server.process import PrefectServer

from .conftest import KEY, Project, find

pytestmark = pytest.mark.distributed


def test_a_run_ends_with_a_report_and_another_repeats_nothing_even_if_the_model_turns_out_worse(
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

    # With a worse model the same command, or a retry, ends otherwise, and repeats nothing either.
    [model] = (served_project.workspace / "trainings").glob("*/model")
    trained_at = model.stat().st_mtime_ns
    make_worse(served_project)
    third = served_project.figa("retry-revisions", "--workspace", str(served_project.workspace))
    assert third.returncode == 3, third.stdout
    assert (teacher.requests(), model.stat().st_mtime_ns) == (calls, trained_at)
    check_worse(served_project, prefect_server, model, third.stdout)

    # No file of the run contains the key.
    for path in served_project.workspace.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def make_worse(project: Project) -> None:
    """The stored run, as if its verifier had rated every answer of the trained model below the base's."""
    with duckdb.connect(str(project.workspace / "figa.duckdb")) as database:
        database.execute(
            """UPDATE scores SET value = CASE e.label WHEN 'FIGA' THEN 0.25 ELSE 0.75 END
               FROM evaluations e JOIN responses r ON r.generator_id = e.generator_id
               WHERE e.metric = 'verifier' AND scores.scorer_id = e.scorer_id
                 AND scores.subject_id = r.response_id"""
        )


def check_worse(project: Project, server: PrefectServer, model: Path, output: str) -> None:
    """That the command, the flow run, the status and the files say so, and that the results are there."""
    worse = f"Verdict: worse: do not use FIGA ({model}). It is worse than its base by the verifier."
    assert worse in output
    assert "Report: file://" in output
    assert "Traceback" not in output

    named = {"flow_runs": {"name": {"any_": [project.run_name]}}}
    [*_, last] = sorted(find(server, "flow_runs", **named), key=lambda run: run["start_time"])
    assert (last["state"]["type"], last["state"]["name"]) == ("FAILED", "Failed")
    assert last["state"]["message"].startswith(worse)
    assert "a Retry repeats nothing and ends the same way" in last["state"]["message"]

    run = project.status()
    assert run["status"] == "worse model"
    assert worse in run["message"]
    assert (run["verdict"]["verdict"], run["verdict"]["difference"]) == ("worse", -50.0)
    assert run["models"]["FIGA"]["directory"] == str(model)
    beside = json.loads((model.parent / "verdict.json").read_text())
    assert (beside["do_not_use"], beside["runs"][run["run_id"]]["verdict"]) == (True, "worse")
    of_the_run = json.loads((project.workspace / "verdicts" / f"{run['run_id']}.json").read_text())
    assert of_the_run["models"]["FIGA"]["do_not_use"] is True
    html = (project.workspace / "reports" / f"{run['run_id']}.html").read_text(encoding="utf-8")
    assert 'class="result worse"' in html


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
