"""PostgreSQL and Redis that go away under a run, and `make serve` without them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.deployments.conftest import form
from tests.deployments.databases import PASSWORD, Databases
from tests.deployments.operation import Operation

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(900)]

AWAY_S = 100.0
"""Longer than a run may be without a sign of life (`automations.MISSED_S`)."""


class Revising:
    """A `figa` run that has begun to pay for revisions."""

    def __init__(self, serving: Operation, config: dict[str, Any], teacher: TeacherProcess) -> None:
        self._serving, self._teacher = serving, teacher
        self._workspace = config["workspace"]["path"]
        self.id = serving.run("figa", config=config)
        serving.wait_for(lambda: teacher.requests() >= 6, 300)

    def completes(self) -> None:
        """And has paid once for every row. For a while it may be thought dead."""
        ended = self._serving.in_state(self.id, "Completed", "Failed", timeout_s=600)
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
        asked = [json.loads(line)["message_sha256"] for line in self._teacher.log.read_text().splitlines()]
        assert sorted(asked) == sorted(set(asked))
        again = self._serving.ended(self._serving.run("retry-revisions", workspace=self._workspace), 300)
        assert again["state_type"] == "COMPLETED", again["state"]["message"]
        assert self._teacher.requests() == len(asked)
        assert len(list(Path(self._workspace).glob("trainings/*/manifest.json"))) == 1


@pytest.fixture
def revising(serving_on_postgres: Operation, sandbox: Sandbox, tmp_path: Path) -> Iterator[Revising]:
    with TeacherProcess(latency_s=2.0) as teacher:
        config = form(tmp_path, sandbox, teacher.base_url)
        config["revision"]["max_concurrency"] = 2
        yield Revising(serving_on_postgres, config, teacher)


@pytest.mark.parametrize("which", ["postgres", "redis"])
def test_a_database_that_comes_back_finds_the_run_going_on(
    revising: Revising, postgres_and_redis: Databases, which: str
) -> None:
    getattr(postgres_and_redis, which).pause(AWAY_S)
    revising.completes()


def test_the_password_of_the_database_is_in_no_log(serving_on_postgres: Operation) -> None:
    logs = list(serving_on_postgres.directory.rglob("*.log"))
    assert any("Database: postgresql at 127.0.0.1" in log.read_text() for log in logs)
    assert not any(PASSWORD in log.read_text() for log in logs)
    assert not serving_on_postgres.processes(PASSWORD)
