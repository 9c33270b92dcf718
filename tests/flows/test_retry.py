"""Open rows are shown, and a retry asks only for them; Ctrl-C loses nothing."""

import signal
from collections.abc import Iterator

import pytest
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from figa_core.llm import journal
from figa_core.llm.calls import CallAnswered, CallRecord
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import TeacherFault
from flows.server.process import PrefectServer
from tests.figa_core.llm.runs import calls_in_flight
from tests.traces import files_with, process_listing

from .conftest import KEY, KEY_VARIABLE, Project, find, wait_until

pytestmark = pytest.mark.distributed


@pytest.fixture
def failing_teacher() -> Iterator[TeacherProcess]:
    with TeacherProcess(faults={TeacherFault.SERVER_ERROR: 0.4}, seed=3) as process:
        yield process


def test_failed_rows_make_the_run_failed_and_a_retry_asks_only_for_them(
    served_project: Project, failing_teacher: TeacherProcess, prefect_server: PrefectServer
) -> None:
    served_project.settings["revision"] |= {"base_url": failing_teacher.base_url, "max_attempts": 1}
    served_project.settings["revision_batches"] = {"rows": 15}
    workspace = ("--workspace", str(served_project.workspace))

    first = served_project.run()

    assert first.returncode == 1, first.stdout
    assert "server_error" in first.stdout
    assert "figa retry-revisions" in first.stdout
    flow_run = served_project.flow_run(prefect_server)
    assert flow_run["state_type"] == "FAILED"
    of_the_run = {"flow_runs": {"id": {"any_": [flow_run["id"]]}}}
    tasks = find(prefect_server, "task_runs", **of_the_run)
    batches = {t["name"]: t["state_type"] for t in tasks if t["name"].startswith("revise batch")}
    assert "FAILED" in batches.values()
    assert len(batches) > 1
    tables = find(prefect_server, "artifacts", **of_the_run)
    [failures] = [a for a in tables if a["key"] == "figa-failures"]
    assert "server_error" in failures["data"]
    status = served_project.figa("status", *workspace).stdout
    assert "revisions are still open" in status

    asked = failing_teacher.requests()
    port = int(failing_teacher.base_url.split(":")[2].split("/")[0])
    failing_teacher.stop()
    with TeacherProcess(port=port) as teacher:
        again = served_project.figa("retry-revisions", *workspace)
        assert again.returncode == 0, again.stdout
        open_rows = int(next(line for line in status.splitlines() if "still open" in line).split()[0])
        assert teacher.requests() == open_rows < asked
    assert "Report: file://" in again.stdout


def test_ctrl_c_stores_the_answers_and_the_same_command_continues(
    served_project: Project, prefect_server: PrefectServer
) -> None:
    with TeacherProcess(latency_s=0.3) as teacher:
        served_project.settings["revision"] |= {"base_url": teacher.base_url, "max_concurrency": 4}
        process = served_project.start_run()
        wait_until(lambda: teacher.requests() >= 8, process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)

        assert process.returncode == 130, output
        assert "the same command continues from here" in output
        assert "Traceback" not in output
        records = _journal(served_project)
        answered = teacher.requests()
        assert not calls_in_flight(records)
        assert sum(isinstance(record, CallAnswered) for record in records) == answered

        second = served_project.run()
        assert second.returncode == 0, second.stdout
        rows = {r.subject_id for r in _journal(served_project) if isinstance(r, CallAnswered)}
        assert answered < teacher.requests() == len(rows)


@pytest.mark.parametrize("kept_in", ["environment", pytest.param("block", marks=pytest.mark.slow)])
def test_the_key_is_in_no_output_file_database_artifact_or_process_listing(
    served_project: Project, prefect_server: PrefectServer, kept_in: str
) -> None:
    variable = "FIGA_TEACHERS_KEY"
    if kept_in == "block":
        del served_project.environment[KEY_VARIABLE]
        served_project.settings["revision"]["api_key_secret"] = save_secret(prefect_server, KEY)
    with TeacherProcess(api_key_env=variable, environment={variable: "another-key"}) as teacher:
        served_project.settings["revision"]["base_url"] = teacher.base_url
        process = served_project.start_run()
        with process_listing() as listing:
            output, _ = process.communicate()
    assert process.returncode == 1
    assert "Check the API key" in output
    assert any("flows.cli" in line for line in listing)
    assert KEY not in output + "".join(listing)
    assert KEY not in str(find(prefect_server, "logs")) + str(find(prefect_server, "artifacts"))
    assert files_with(KEY, served_project.workspace, prefect_server.directory) == []


@pytest.mark.slow
def test_a_key_that_is_renewed_in_its_block_counts_for_the_same_command(
    served_project: Project, prefect_server: PrefectServer
) -> None:
    variable = "FIGA_TEACHERS_KEY"
    with TeacherProcess(api_key_env=variable, environment={variable: KEY}) as teacher:
        served_project.settings["revision"] |= {
            "base_url": teacher.base_url,
            "api_key_secret": save_secret(prefect_server, "an-old-key-of-last-year"),
        }
        refused = served_project.run()
        assert refused.returncode == 1
        assert "in the Secret block of revision.api_key_secret" in refused.stdout
        save_secret(prefect_server, KEY)
        done = served_project.run()
        assert done.returncode == 0, done.stdout


def save_secret(server: PrefectServer, key: str) -> str:
    """Store the key in a Secret block on the server; returns the block's name."""
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        Secret(value=SecretStr(key)).save("figa-test-key", overwrite=True)
    return "figa-test-key"


def _journal(project: Project) -> list[CallRecord]:
    return [record for record, _ in journal.read(project.workspace / "journal" / "revise.jsonl")]


@pytest.mark.slow
def test_a_run_that_tolerates_some_open_rows_is_completed_with_a_warning_that_names_the_retry(
    served_project: Project, failing_teacher: TeacherProcess, prefect_server: PrefectServer
) -> None:
    served_project.settings["revision"] |= {"base_url": failing_teacher.base_url, "max_attempts": 1}
    served_project.settings["revision_batches"] = {"failed_share_max": 0.9}

    first = served_project.run()

    assert first.returncode == 0, first.stdout
    warnings = [line for line in first.stdout.splitlines() if line.startswith("warning: ")]
    assert any("revisions are still open (" in line for line in warnings), first.stdout
    assert "× server_error, for example" in first.stdout
    assert served_project.flow_run(prefect_server)["state_type"] == "COMPLETED"
    status = served_project.figa("status", "--workspace", str(served_project.workspace)).stdout
    assert ": completed, started" in status
    assert "revisions are still open" in status
    assert "ask for them again: figa retry-revisions" in status
