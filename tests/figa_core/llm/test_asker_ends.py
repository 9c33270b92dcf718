"""Errors that concern every row end the run."""

import logging
import socket
import traceback
from dataclasses import replace

import pytest

from figa_core.errors import LLMError
from figa_core.llm.calls import CallOutcome
from figa_core.llm.health import Patience
from tests.figa_core.llm.runs import KEY, Runner, make_rows


async def test_endless_429s_end_the_run(server, runner: Runner):
    server.script = lambda number, request: server.error(429, "daily limit", headers={"retry-after": "40000"})
    with pytest.raises(LLMError, match=r"requests_per_minute.*stay pending"):
        await runner.revise(make_rows(3))


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (lambda s: s.error(401, f"Incorrect API key provided: {KEY}"), "api_key_env"),
        (lambda s: s.error(403, "your account is suspended"), "api_key_env"),
        (lambda s: s.error(404, "no such model", code="model_not_found"), "revision.model"),
        (lambda s: s.error(429, "pay first", code="insufficient_quota"), "Top up"),
        (
            lambda s: s.error(400, "temperature must be positive", param="temperature"),
            r"revision\.temperature",
        ),
    ],
)
async def test_an_error_that_concerns_every_row_ends_the_run_at_the_first_row(
    server, runner: Runner, caplog: pytest.LogCaptureFixture, fault, advice
):
    caplog.set_level(logging.DEBUG)
    server.script = lambda number, request: fault(server)
    async with runner.reviser(max_concurrency=4) as reviser:
        with pytest.raises(LLMError, match=advice) as caught:
            _ = [r async for r in reviser.revise(make_rows(1000))]
        shown = repr(reviser) + str(reviser.asker.settings)
    assert server.url in str(caught.value)
    assert len(server.received) <= 8
    assert len(runner.answers()) == len(server.received)
    assert runner.revisions() == []
    shown += "".join(traceback.format_exception(caught.value)) + caplog.text + runner.path.read_text()
    assert KEY not in shown


async def test_a_server_that_is_down_ends_the_run_after_a_few_attempts(runner: Runner, server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(LLMError, match=url):
            await runner.revise(make_rows(10_000), base_url=url, max_concurrency=16)
    assert 10 <= len(runner.answers()) <= 26
    assert set(runner.outcomes()) == {CallOutcome.CONNECTION_FAILED}
    assert runner.revisions() == []


async def test_a_server_that_only_sends_malformed_answers_ends_the_run(server, runner: Runner):
    server.script = lambda number, request: replace(server.completion("x"), body=b"hello")
    with pytest.raises(LLMError, match="no usable answer"):
        await runner.revise(make_rows(1000), patience=Patience(useless_calls=5), max_concurrency=2)
    assert len(server.received) < 20


async def test_a_server_that_refuses_the_first_rows_alike_ends_the_run(server, runner: Runner):
    server.script = lambda number, request: server.error(400, "unknown field: messages")
    with pytest.raises(LLMError, match="unknown field: messages"):
        await runner.revise(make_rows(1000), max_concurrency=2)
    assert len(server.received) <= 12
