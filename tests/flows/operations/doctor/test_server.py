"""What the doctor says of servers, clocks, workers and what they see."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import Worker, WorkerStatus
from prefect.settings import PREFECT_API_URL, temporary_settings

from figa_core.artifacts.store import Store
from figa_core.errors import ConfigError
from figa_core.inference.devices import gpus_here
from flows.check_worker import WorkerFacts, facts_of
from flows.operations.doctor.lines import Level, Line
from flows.operations.doctor.server import clock_line, gpu_lines, server_lines, worker_line
from flows.operations.doctor.storage import LITTLE_BYTES
from flows.operations.doctor.workers import facts_lines
from flows.server.clocks import CLOCK_S
from flows.server.versions import own_code, own_version

WORKSPACE = "/data/workspace"
NOW = time.time()
FACTS = WorkerFacts("gpu1", own_version(), "3.8.8", NOW, sees=True, writes=True, free=10**12)


def about_facts(facts: WorkerFacts) -> list[Line]:
    return list(facts_lines("a worker on gpu", facts, WORKSPACE, NOW - 1, NOW + 1))


def test_no_server_is_no_problem_and_a_wrong_address_is_one() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        [line] = server_lines()
    assert line.level is Level.OK
    assert "starts a server of its own" in line.text
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ConfigError, match="nothing answers there"),
    ):
        server_lines()


def test_a_server_on_which_nothing_is_deployed_says_what_to_do(prefect_api: str) -> None:
    lines = {line.about: line for line in server_lines()}
    assert lines["Prefect"].text.startswith(prefect_api)
    assert lines["the server's clock"].level is Level.OK
    for about in ("deployments", "pool cpu", "pool gpu"):
        assert lines[about].level is Level.PROBLEM
        assert "python -m deployments.deploy" in lines[about].text


@pytest.mark.parametrize("ahead_s", [3600, -3600, CLOCK_S + 1])
def test_a_clock_that_is_an_hour_off_is_a_problem(ahead_s: float) -> None:
    line = clock_line("the clock of gpu1", ahead_s)
    assert line.level is Level.PROBLEM
    assert f"{abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the one here" in line.text
    assert clock_line("a clock", CLOCK_S / 2).level is Level.OK


def test_a_worker_of_another_or_unknown_version_stands_out() -> None:
    worker = Worker(name="figa-gpu-h", work_pool_id=uuid4(), status=WorkerStatus.ONLINE)
    assert worker_line(worker, own_version()).level is Level.OK
    assert worker_line(worker, None).level is Level.WARNING
    other = worker_line(worker, "0.0.1")
    assert other.level is Level.PROBLEM
    assert f"figa 0.0.1, here is {own_version()}" in other.text


@pytest.mark.parametrize(
    ("stated", "here", "warned"),
    [
        ({"a": "0", "b": "2"}, 0, ["worker a"]),
        ({"a": "0", "b": None}, 1, ["worker a"]),
        ({"a": "0", "b": None}, 0, []),
        ({"a": "1", "b": None}, 1, []),
    ],
)
def test_a_worker_without_gpus_stands_out_where_others_have_some(
    stated: dict[str, str | None], here: int, warned: list[str]
) -> None:
    lines = list(gpu_lines(stated, here))
    assert [line.about for line in lines] == warned
    assert all(line.level is Level.WARNING and "sees no GPU" in line.text for line in lines)


def test_the_answer_of_a_worker_of_another_version_is_understood() -> None:
    answer = asdict(FACTS)
    del answer["gpus"], answer["code"]
    assert WorkerFacts.from_fields({**answer, "later": 1}) == FACTS
    with pytest.raises(TypeError):
        WorkerFacts.from_fields({"host": "gpu1"})


def test_a_worker_that_sees_the_workspace_is_well() -> None:
    [line] = about_facts(FACTS)
    assert line == Line(Level.OK, "a worker on gpu (gpu1)", f"sees {WORKSPACE} and writes to it, 1 TB free")


def test_little_room_where_a_worker_runs_is_a_warning() -> None:
    [line] = about_facts(replace(FACTS, free=LITTLE_BYTES - 1))
    assert line.level is Level.WARNING
    assert "5 GB free, which is little" in line.text


def test_of_a_workspace_that_is_not_there_yet_only_the_worker_is_looked_at() -> None:
    unseen = replace(FACTS, sees=False, writes=False, free=0)
    [line] = facts_lines("a worker on gpu", unseen, None, NOW - 1, NOW + 1)
    assert line.level is Level.OK
    wrong = replace(unseen, version="0.0.1", clock=NOW - 3600)
    problems = [
        line.level is Level.PROBLEM for line in facts_lines("a worker", wrong, None, NOW - 1, NOW + 1)
    ]
    assert problems == [True, False, True]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sees": False}, "does not see"),
        ({"writes": False}, "cannot write"),
        ({"version": "0.0.1"}, "runs figa 0.0.1"),
        ({"clock": NOW - 3600}, "s behind the one here"),
        ({"clock": NOW + 3600}, "s ahead of the one here"),
    ],
)
def test_what_is_wrong_with_a_worker_is_a_problem(changed: dict[str, object], words: str) -> None:
    problems = [line for line in about_facts(replace(FACTS, **changed)) if line.level is Level.PROBLEM]
    assert len(problems) == 1
    assert words in problems[0].text


def test_other_code_of_the_same_version_is_a_warning() -> None:
    other, seen = about_facts(replace(FACTS, code="0123456789ab"))
    assert (other.level, seen.level) == (Level.WARNING, Level.OK)
    assert "has other code of figa" in other.text
    assert len(about_facts(replace(FACTS, code=own_code()))) == 1


def test_a_worker_sees_only_the_very_file_that_was_written(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token")
    found = facts_of(tmp_path, "token")
    assert (found.sees, found.writes) == (True, True)
    assert abs(found.clock - time.time()) < 60
    assert found.gpus == gpus_here()
    assert not facts_of(tmp_path, "another").sees
    elsewhere = facts_of(tmp_path / "not-mounted", "token")
    assert (elsewhere.sees, elsewhere.writes, elsewhere.free) == (False, False, 0)
    assert not (tmp_path / "not-mounted").exists()


def test_a_worker_without_the_disk_is_well_if_it_reaches_the_store(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    workspace = tmp_path / "not-mounted"
    Store(url).write("token", b"token")
    found = facts_of(workspace, "token", url)
    assert (found.sees, found.writes, found.trouble) == (True, True, "")
    assert found.free > 0
    assert "does not hold the file" in facts_of(workspace, "another", url).trouble
    assert not workspace.exists()


def test_why_a_worker_does_not_reach_the_store_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    found = facts_of(tmp_path, "token", f"file://{tmp_path}/store")
    [line] = about_facts(replace(FACTS, sees=found.sees, writes=found.writes, trouble=found.trouble))
    assert line.level is Level.PROBLEM
    assert f"file://{tmp_path}/store: cannot write probe-" in line.text
