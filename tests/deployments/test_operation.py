"""`make serve`, through the API that the UI's buttons call: forms, Retry, waiting, events, artifacts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.automations import TRAIN_ON_NEW_DATASET
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import TeacherFault
from tests.deployments.conftest import BACKENDS, form
from tests.deployments.operation import Operation
from tests.flows.conftest import KEY
from tests.traces import files_with, process_listing

pytestmark = [pytest.mark.distributed, pytest.mark.timeout(1200)]


@pytest.fixture(params=BACKENDS)
def serving(request: pytest.FixtureRequest) -> Operation:
    """On SQLite, and on PostgreSQL with Redis."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("section", "fields", "complaint"),
    [
        ("generation", {"temperature": -1.0}, "less than the minimum"),
        ("generation", {"engine": "magic"}, "not one of"),
        ("training", {"processes": "two"}, "not of type 'integer'"),
        ("revision", {"requests_per_minute": 0}, "less than or equal to the minimum"),
        ("evaluation", {"bananas": 3}, "Additional properties are not allowed"),
    ],
)
def test_the_server_refuses_what_is_out_of_bounds(
    serving: Operation, sandbox: Sandbox, tmp_path: Path, section: str, fields: dict[str, Any], complaint: str
) -> None:
    config = form(tmp_path, sandbox, "http://127.0.0.1:9/v1", **{section: fields})
    with pytest.raises(httpx.HTTPStatusError) as refused:
        serving.run("figa", config=config)
    assert refused.value.response.status_code in {409, 422}
    assert complaint in refused.value.response.text


def test_three_fields_complete_the_form(serving: Operation, sandbox: Sandbox, tmp_path: Path) -> None:
    """The preset with the three paths is accepted, and gets as far as the key, which is not set here."""
    config = serving.deployment("figa")["parameters"]["config"]
    with pytest.raises(httpx.HTTPStatusError, match=r"409|422"):
        serving.run("figa", config=config)
    config["prompts"]["path"] = str(sandbox.prompts)
    config["generation"]["model"] = str(sandbox.base_model)
    config["reward"]["model"] = str(sandbox.reward_model)
    config["workspace"]["path"] = str(tmp_path / "workspace")
    config["revision"]["api_key_env"] = "A_KEY_THAT_NOBODY_SET"
    ended = serving.ended(serving.run("figa", config=config))
    assert ended["state_type"] == "FAILED"
    assert "A_KEY_THAT_NOBODY_SET is empty" in ended["state"]["message"]
    assert ended["name"] == "assistant: prompts.jsonl for base"


@pytest.mark.slow
def test_retry_asks_only_for_the_failed_rows_and_continues_to_train_on_the_gpu_pool(
    serving: Operation, sandbox: Sandbox, tmp_path: Path
) -> None:
    batches = {"rows": 15}
    with TeacherProcess(faults={TeacherFault.SERVER_ERROR: 0.4}, seed=3) as teacher:
        config = form(tmp_path, sandbox, teacher.base_url, revision_batches=batches)
        config["revision"]["max_attempts"] = 1
        run = serving.run("figa", config=config)
        failed = serving.ended(run)
        asked, port = teacher.requests(), int(teacher.base_url.split(":")[2].split("/")[0])
    assert failed["state_type"] == "FAILED"
    assert "revisions are still open" in failed["state"]["message"]
    assert "Retry in the Prefect UI" in failed["state"]["message"]
    open_rows = int(failed["state"]["message"].split("OpenRevisionsError: ")[1].split()[0])
    assert "server_error" in serving.artifacts(run)["figa-failures"]["data"]

    with TeacherProcess(port=port) as teacher, process_listing() as listing:
        serving.retry(run)
        serving.in_state(run, "Running")
        ended = serving.ended(run)
        assert (ended["state_type"], ended["run_count"]) == ("COMPLETED", 2)
        assert teacher.requests() == open_rows < asked

    [training] = serving.children_of(run)
    assert training["name"] == "workspace: train FIGA from base"
    assert training["work_pool_name"] == "gpu"
    assert training["state_type"] == "COMPLETED"
    lines = [line["message"] for line in serving.logs(training["id"])]
    assert any("objective figa" in line and "ZeRO-2 on 2 rank(s)" in line for line in lines)
    assert not any("Warning" in line for line in lines)
    _shows_what_people_look_at(serving, run, training["id"])
    _shows_the_key_nowhere(serving, [run, training["id"]], listing, tmp_path)

    [model] = tmp_path.glob("workspace/trainings/*/model")
    judged = serving.run("evaluate-model", workspace=str(tmp_path / "workspace"), model=str(model))
    taken = serving.run(
        "evaluate-model", workspace=str(tmp_path / "workspace"), model=str(sandbox.base_model), label="FIGA"
    )
    assert serving.ended(judged)["state_type"] == "COMPLETED"
    assert serving.flow_run(judged)["name"].startswith("workspace: evaluate trainings/")
    refused = serving.ended(taken)
    assert refused["state_type"] == "FAILED"
    assert "Choose another label" in refused["state"]["message"]


def _shows_the_key_nowhere(serving: Operation, runs: list[str], listing: set[str], directory: Path) -> None:
    assert any("figa_core.training" in line for line in listing)
    assert KEY not in "".join(listing)
    assert files_with(KEY, serving.directory, directory) == []
    for run in runs:  # which may be in a database elsewhere
        shown = [serving.flow_run(run), *serving.logs(run), *serving.artifacts(run).values()]
        assert KEY not in str(shown)


def _shows_what_people_look_at(serving: Operation, run: str, training: str) -> None:
    shown = serving.artifacts(run)
    assert any(key and key.startswith("figa-progress-") for key in {**shown, **serving.artifacts(training)})
    assert shown["figa-funnel"]["type"] == "table"
    assert '"weighted"' in shown["figa-funnel"]["data"]
    for key, artifact in (("figa-rewards", shown), ("figa-training-figa", serving.artifacts(training))):
        assert artifact[key]["type"] == "image"
        assert artifact[key]["data"].startswith("data:image/svg+xml;base64,")
    link = shown["figa-report-link"]["data"].partition("](")[2].rstrip(")")
    assert link.startswith(f"{serving.url}/reports/run-")
    report = httpx.get(link)
    assert report.headers["content-type"].startswith("text/html")
    assert "FIGA" in report.text


@pytest.fixture
def switch_on(serving: Operation) -> Iterator[Callable[[], None]]:
    """Switches on the automation that trains on a new dataset; it is off before and after."""
    wanted = {"name": {"any_": [TRAIN_ON_NEW_DATASET]}}
    [automation] = serving.post("/automations/filter", automations=wanted, limit=10)
    assert automation["enabled"] is False

    def enable(enabled: bool = True) -> None:
        changed = serving.api.patch(f"/automations/{automation['id']}", json={"enabled": enabled})
        assert changed.is_success

    yield enable
    enable(False)


@pytest.mark.slow
def test_a_second_run_waits_for_the_workspace_and_repeats_nothing_and_an_event_may_train_on_it(
    serving: Operation, sandbox: Sandbox, tmp_path: Path, switch_on: Callable[[], None]
) -> None:
    with TeacherProcess(latency_s=1.5) as teacher:
        config = form(tmp_path, sandbox, teacher.base_url, workspace={"lease_timeout_s": 200})
        config["revision"]["max_concurrency"] = 2
        switch_on()
        first = serving.run("build-dataset", config=config)
        serving.wait_for(lambda: teacher.requests() >= 2)
        second = serving.run("figa", config=config)
        assert serving.ended(first)["state_type"] == "COMPLETED"
        calls = teacher.requests()
        assert serving.ended(second)["state_type"] == "COMPLETED"
        assert teacher.requests() == calls
    assert any("waits up to 200 s for" in line["message"] for line in serving.logs(second))

    # The event of the first run started a training, and the second run asked for the same one: it ran once.
    [by_event] = serving.wait_for(lambda: _trainings_by_event(serving, tmp_path))
    assert serving.ended(by_event)["state_type"] == "COMPLETED"
    assert len(list(tmp_path.glob("workspace/trainings/*/manifest.json"))) == 1


def _trainings_by_event(serving: Operation, directory: Path) -> list[str]:
    found = serving.post("/flow_runs/filter", flows={"name": {"any_": ["train-model"]}}, limit=50)
    return [
        run["id"]
        for run in found
        if run["parameters"]["shards"].startswith(str(directory)) and run["parent_task_run_id"] is None
    ]


def test_a_schedule_that_is_switched_on_makes_runs(serving: Operation) -> None:
    deployment = serving.deployment("evaluate-model")
    route = f"/deployments/{deployment['id']}"
    nightly = {"schedule": {"cron": "0 2 * * *", "timezone": "UTC"}, "active": True}
    parameters = {"parameters": {"workspace": "runs/assistant", "model": "a-model"}}
    assert serving.api.patch(route, json={**parameters, "schedules": [nightly]}).is_success
    wanted = {"deployment_id": {"any_": [deployment["id"]]}, "state": {"name": {"any_": ["Scheduled"]}}}
    planned = serving.wait_for(lambda: serving.post("/flow_runs/filter", flow_runs=wanted, limit=5))
    assert all(run["expected_start_time"].split("T")[1].startswith("02:00:00") for run in planned)
    off = {"parameters": deployment["parameters"], "schedules": []}
    assert serving.api.patch(route, json=off).is_success
