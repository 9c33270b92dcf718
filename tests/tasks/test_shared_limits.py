"""Runs that share one limit, on a real Prefect server, checked in the teacher's log."""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.limits import Provider, create_limits
from figa_core.errors import ConfigError, LLMError
from figa_core.llm.permits import shared_rate
from figa_core.processes.children import child_environment
from figa_core.sandbox.teacher_process import TeacherProcess
from tasks.shared_limits import SLOTS_PER_REQUEST, LimitNames, PrefectPermits, name_for, shared_permits
from tests.figa_core.llm.virtual import largest_window

NOBODY = "http://127.0.0.1:9/api"


async def free(name: str) -> int:
    async with get_client() as client:
        return await PrefectPermits(client, name, SLOTS_PER_REQUEST).free_slots()


async def drawn(permits: PrefectPermits, most: float = 1000) -> float:
    found = await permits.draw(most)
    return 0.0 if found is None else found.permits


def test_names_contain_no_characters_that_prefect_refuses():
    assert name_for("https://api.openai.com/v1", "gpt-4.1") == "api.openai.com-gpt-4.1"
    assert name_for("http://127.0.0.1:8000/v1", "org/model 7") == "127.0.0.1-8000-org-model-7"


async def test_free_slots_can_be_taken_and_flow_back(prefect_api: str):
    await create_limits(Provider("drawn", 600, 600_000))
    rate = shared_rate(600, largest=1, runs=4)
    async with get_client() as client:
        permits = PrefectPermits(client, LimitNames.of("drawn").requests, SLOTS_PER_REQUEST)
        slots = int(rate.capacity * SLOTS_PER_REQUEST)
        assert await permits.free_slots() == slots
        began = time.monotonic()
        assert await drawn(permits, 0.5) == 0.5
        assert await drawn(permits) <= rate.capacity - 0.5 + (time.monotonic() - began) * rate.per_second
        await asyncio.sleep(0.3)
        flowed_back = await drawn(permits)
        assert 0.2 * rate.per_second < flowed_back <= (time.monotonic() - began) * rate.per_second + 0.01


async def test_runs_that_draw_at_once_share_what_is_free(prefect_api: str):
    await create_limits(Provider("contested", 600, 600_000))
    rate = shared_rate(600, largest=1, runs=4)
    async with get_client() as client:
        name = LimitNames.of("contested").requests
        stocks = [PrefectPermits(client, name, SLOTS_PER_REQUEST) for _ in range(4)]
        began = time.monotonic()
        permits = await asyncio.gather(*map(drawn, stocks))
        assert rate.capacity - 0.001 <= sum(permits)
        assert sum(permits) <= rate.capacity + (time.monotonic() - began) * rate.per_second + 0.01


async def test_a_limit_that_was_never_created_is_an_error_that_names_the_command(prefect_api: str):
    with pytest.raises(ConfigError, match=r"'nowhere-requests' does not exist .*deployments\.limits"):
        async with shared_permits("nowhere"):
            pass


async def test_a_limit_without_decay_or_switched_off_is_an_error(prefect_api: str):
    async with get_client() as client:
        await client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name="plain-requests", limit=10)
        )
        with pytest.raises(ConfigError, match="no slot decay"):
            await free("plain-requests")
        await client.update_global_concurrency_limit(
            "plain-requests", GlobalConcurrencyLimitUpdate(slot_decay_per_second=1.0, active=False)
        )
        with pytest.raises(ConfigError, match="switched off"):
            await free("plain-requests")


async def test_a_server_that_does_not_answer_is_an_error_at_the_start():
    with temporary_settings({PREFECT_API_URL: NOBODY}), pytest.raises(LLMError, match="does not answer"):
        async with shared_permits("any"):
            pass


async def test_an_outage_is_tolerated_for_a_while(monkeypatch: pytest.MonkeyPatch):
    with temporary_settings({PREFECT_API_URL: NOBODY}):
        async with get_client() as client:
            permits = PrefectPermits(client, "any", 1)
            assert await permits.draw(1) is None
            assert await permits.draw(1) is None
            monkeypatch.setattr("tasks.shared_limits.OUTAGE_MAX_S", -1.0)
            with pytest.raises(LLMError, match="granted nothing"):
                await permits.draw(1)


@dataclass
class Log:
    """The teacher's log."""

    times: list[float]
    tokens: list[float]
    outcomes: set[str]

    @classmethod
    def read(cls, path: Path) -> "Log":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return cls(
            [line["time"] for line in lines],
            [float(line["tokens"]) for line in lines],
            {line["outcome"] for line in lines},
        )

    def per_minute(self, seconds: float) -> tuple[float, float]:
        """Mean rates of requests and tokens in the last `seconds`."""
        start = self.times[-1] - seconds
        late = [size for time, size in zip(self.times, self.tokens, strict=True) if time > start]
        return len(late) * 60 / seconds, sum(late) * 60 / seconds


def two_processes(name: str, teacher: TeacherProcess, prefect_api: str, *arguments: float) -> None:
    root = Path(__file__).parents[2]
    environment = child_environment(PREFECT_API_URL=prefect_api, PYTHONPATH=str(root))
    command = [sys.executable, "-m", "tests.tasks.sharing_run", name, teacher.base_url, *map(str, arguments)]
    runs = [subprocess.Popen(command, env=environment, cwd=root, stderr=subprocess.PIPE) for _ in range(2)]
    for run in runs:
        _, errors = run.communicate(timeout=arguments[0] + 60)
        assert run.returncode == 0, errors.decode()


async def share(teacher: TeacherProcess, prefect_api: str, name: str, seconds: float, **limits: Any) -> Log:
    rates = limits["requests_per_minute"], limits["tokens_per_minute"]
    await create_limits(Provider(name, *rates, runs=2, tokens_per_call=120))
    two_processes(name, teacher, prefect_api, seconds, *rates)
    return Log.read(teacher.log)


async def test_two_processes_together_keep_the_rate_of_one(prefect_api: str):
    limits: dict[str, Any] = {"requests_per_minute": 1200, "tokens_per_minute": 10_000_000}
    with TeacherProcess(**limits) as teacher:
        log = await share(teacher, prefect_api, "short", 12, **limits)
    ones = [1.0] * len(log.times)
    assert log.outcomes == {"answered"}
    assert largest_window(log.times, ones, 6) >= 0.85 * 120
    for seconds in (1, 3, 6):
        permitted = 20 * (1 + seconds + 0.75) + 2
        assert largest_window(log.times, ones, seconds) <= permitted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requests", "tokens"), [(3000, 10_000_000), (60_000, 240_000)], ids=["requests", "tokens"]
)
async def test_two_processes_keep_the_limit_of_every_minute(prefect_api: str, requests: int, tokens: int):
    limits: dict[str, Any] = {"requests_per_minute": requests, "tokens_per_minute": tokens}
    with TeacherProcess(**limits) as teacher:
        log = await share(teacher, prefect_api, f"long-{requests}", 150, **limits)
    assert log.outcomes == {"answered"}
    assert largest_window(log.times, [1.0] * len(log.times), 60) <= requests
    assert largest_window(log.times, log.tokens, 60) <= tokens
    rate, tokens_rate = log.per_minute(120)
    used = max(rate / requests, tokens_rate / tokens)
    print(f"{used:.1%} of the shared limit over two minutes, no 429")
    assert used >= 0.7  # a Prefect server on SQLite that takes seconds for a grant costs rate


def test_a_refusal_changes_nothing(prefect_api: str):
    """Prefect's arithmetic: runs that are refused do not starve each other."""
    name = "arithmetic"
    with httpx.Client(base_url=prefect_api) as client:
        limit = {"name": name, "limit": 1000, "slot_decay_per_second": 100.0}
        client.post("/v2/concurrency_limits/", json=limit).raise_for_status()

        def increment(slots: int) -> int:
            body = {"names": [name], "slots": slots, "mode": "rate_limit"}
            return client.post("/v2/concurrency_limits/increment", json=body).status_code

        def in_use() -> int:
            return client.get(f"/v2/concurrency_limits/{name}").json()["active_slots"]

        assert increment(1000) == 200
        time.sleep(1.0)
        flowed_back = 1000 - in_use()
        assert 90 <= flowed_back <= 900
        assert increment(1000) == 423
        assert 1000 - in_use() >= flowed_back
