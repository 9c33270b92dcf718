"""Servers that fall away, come back, are busy, or answer nothing usable: no row is lost with them."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from figa_core.errors import EngineError
from figa_core.inference.server.client import clients, open_session
from figa_core.inference.server.jobs import Sampling
from figa_core.inference.server.pool import Pool
from figa_core.inference.server.server import Server, State
from tests.figa_core.inference.outcomes import generations

from .asking import KEY, REQUESTS, Asking, all_of, servers_of
from .stub import STOP, StubServer, completion, error


def test_a_server_that_dies_loses_no_row_and_repeats_only_what_was_under_way(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    for stub in (server, other_server):
        stub.delay_s = 0.05
    rows = iter(asking.generate(servers_of(server, other_server)))
    found = [*next(rows)]
    server.stop()
    found += [row for batch in rows for row in batch]
    assert generations([found]) == all_of(REQUESTS)
    assert len(found) == len(REQUESTS)
    asked = Counter(body["seed"] for body in (*server.bodies, *other_server.bodies))
    assert len(asked) == len(REQUESTS)
    assert sum(times - 1 for times in asked.values()) <= 16
    assert any(f"{server.url} is away" in line for line in asking.told)


def test_a_run_waits_for_its_only_server_to_come_back(asking: Asking, server: StubServer) -> None:
    server.delay_s = 0.02
    rows = iter(asking.generate(servers_of(server, patience_s=30)))
    found = [*next(rows)]
    server.stop()
    threading.Timer(0.5, server.start).start()
    found += [row for batch in rows for row in batch]
    assert generations([found]) == all_of(REQUESTS)
    assert len(found) == len(REQUESTS)
    assert any("answers again" in line for line in asking.told)


def test_a_server_that_is_away_at_first_joins_later(asking: Asking, server: StubServer) -> None:
    late = StubServer()
    with late:
        pass  # it has a port now, and is gone
    server.delay_s = 0.1
    timer = threading.Timer(0.3, late.start)
    timer.start()
    try:
        found = generations(asking.generate(servers_of(server, late, most_in_flight=4)))
    finally:
        timer.join()
        late.stop()
    assert found == all_of(REQUESTS)
    assert late.bodies


def test_without_any_server_the_run_ends_in_words(asking: Asking, server: StubServer) -> None:
    server.delay_s = 0.02
    rows = iter(asking.generate(servers_of(server, patience_s=0.5)))
    assert next(rows)
    server.stop()
    with pytest.raises(EngineError, match="no vLLM server can be used") as raised:
        list(rows)
    assert server.url in str(raised.value)
    assert "run again" in str(raised.value)


@pytest.mark.parametrize("model", ["tiny", None], ids=["named", "not named"])
def test_a_server_that_comes_back_with_another_model_gets_nothing(
    asking: Asking, server: StubServer, model: str | None
) -> None:
    server.delay_s = 0.02
    rows = iter(asking.generate(servers_of(server, model=model, patience_s=30)))
    assert next(rows)
    server.stop()
    server.name, asked = "another", len(server.bodies)
    server.start()
    with pytest.raises(EngineError, match=r"no model called 'tiny'.*it has another"):
        list(rows)
    assert len(server.bodies) == asked


def test_a_server_that_fails_on_everything_for_a_while_costs_no_row(
    asking: Asking, server: StubServer
) -> None:
    ill = threading.Event()

    async def before(_: dict[str, Any]) -> web.Response | None:
        return error(500, "engine is dead") if ill.is_set() else None

    server.before, server.delay_s = before, 0.02
    rows = iter(asking.generate(servers_of(server, patience_s=30)))
    found = [*next(rows)]
    ill.set()
    threading.Timer(1.0, ill.clear).start()
    found += [row for batch in rows for row in batch]
    assert generations([found]) == all_of(REQUESTS)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda body: web.json_response(completion(body, token_ids=None)), "no token_ids"),
        (lambda body: web.json_response(completion(body, token_ids=[2**33, STOP])), "another model"),
        (lambda body: web.Response(text="<html>proxy</html>"), "not JSON"),
        (lambda body: web.json_response({"choices": []}), "0 samples"),
        (lambda body: error(500, "broken"), "HTTP 500: broken"),
    ],
    ids=["no ids", "ids of another model", "garbage", "no rows", "errors"],
)
def test_a_server_without_a_single_usable_answer_ends_the_run_and_fails_no_row(
    asking: Asking, server: StubServer, answer: Callable[[dict[str, Any]], web.Response], words: str
) -> None:
    async def before(body: dict[str, Any]) -> web.Response:
        return answer(body)

    server.before = before
    with pytest.raises(EngineError, match=words):
        list(asking.generate(servers_of(server, patience_s=0.7)))


def test_a_server_that_hangs_is_left_after_one_question_and_its_rows_go_to_the_other(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    over = threading.Event()

    async def before(_: dict[str, Any]) -> None:
        if len(server.bodies) > 5:
            server.models = lambda: web.Response(status=502)
            while not over.is_set():
                await asyncio.sleep(0.05)

    server.before, other_server.delay_s = before, 0.02
    try:
        found = generations(asking.generate(servers_of(server, other_server, timeout_s=1.0)))
    finally:
        over.set()
    assert found == all_of(REQUESTS)
    asked = [body["seed"] for body in server.bodies]
    assert sum(seed in asked[:5] for seed in asked[5:]) <= 1


def test_a_server_whose_answers_turn_into_garbage_costs_no_row(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    async def before(_: dict[str, Any]) -> web.Response | None:
        return web.json_response({"choices": []}) if len(server.bodies) > 5 else None

    server.before, other_server.delay_s = before, 0.02
    assert generations(asking.generate(servers_of(server, other_server))) == all_of(REQUESTS)


@pytest.mark.parametrize(("status", "most"), [(503, 32), (404, 64)], ids=["too busy to tell", "none there"])
def test_only_a_server_that_has_no_metrics_gets_as_much_as_the_settings_allow(
    asking: Asking, server: StubServer, status: int, most: int
) -> None:
    server.metrics, server.delay_s = lambda: web.Response(status=status), 0.3
    found = generations(asking.generate(servers_of(server, most_in_flight=64)))
    assert found == all_of(REQUESTS)
    assert server.most_at_once == most


def test_a_proxy_that_lists_a_model_and_resets_every_request_costs_no_row_and_is_tried_ever_less(
    asking: Asking, server: StubServer, other_server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("figa_core.inference.server.pool._PAUSES_S", (0.0, 0.0, 3600.0))
    server.resets, other_server.delay_s = True, 0.05
    assert generations(asking.generate(servers_of(server, other_server))) == all_of(REQUESTS)
    assert len(server.bodies) <= 16 + 2  # those that were under way, and two trials


def test_such_a_proxy_alone_ends_the_run_and_fails_no_row(asking: Asking, server: StubServer) -> None:
    server.resets = True
    with pytest.raises(EngineError, match="no vLLM server can be used"):
        list(asking.generate(servers_of(server, patience_s=0.7), REQUESTS[:1]))


def test_a_refused_key_ends_the_run_and_is_not_shown(asking: Asking, server: StubServer) -> None:
    async def before(_: dict[str, Any]) -> web.Response:
        return error(401, f"Invalid key {KEY}")

    server.before = before
    with pytest.raises(EngineError, match=r"HTTP 401: Invalid key \[key\]") as raised:
        list(asking.generate(servers_of(server, api_key=KEY)))
    assert KEY not in str(raised.value)
    assert KEY not in repr(servers_of(server, api_key=KEY))


def test_a_busy_server_is_given_the_time_that_it_asks_for(asking: Asking, server: StubServer) -> None:
    refused = Counter[int]()

    async def before(body: dict[str, Any]) -> web.Response | None:
        refused[body["seed"]] += 1
        return error(429, "too many", **{"Retry-After": "0.1"}) if refused[body["seed"]] == 1 else None

    server.before = before
    assert generations(asking.generate(servers_of(server), REQUESTS[:20])) == all_of(REQUESTS[:20])
    assert set(refused.values()) == {2}


def test_while_a_server_rests_its_rows_go_to_the_others(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    async def before(_: dict[str, Any]) -> web.Response:
        return error(429, "too many", **{"Retry-After": "60"})

    server.before = before
    found = generations(asking.generate(servers_of(server, other_server), REQUESTS[:50]))
    assert found == all_of(REQUESTS[:50])
    assert len(server.bodies) <= 32


def test_a_proxy_whose_server_still_starts_is_waited_for(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    listed = server.models
    server.models = lambda: web.Response(status=502, text="<html>bad gateway</html>")
    other_server.delay_s = 0.05
    rows = iter(asking.generate(servers_of(server, other_server, most_in_flight=2)))
    found = [*next(rows)]
    assert server.bodies == []
    server.models = listed
    found += [row for batch in rows for row in batch]
    assert generations([found]) == all_of(REQUESTS)
    assert server.bodies


def test_a_redirect_is_not_followed(asking: Asking, server: StubServer, other_server: StubServer) -> None:
    async def before(_: dict[str, Any]) -> web.Response:
        return web.Response(status=307, headers={"Location": other_server.url + "/v1/completions"})

    server.before = before
    with pytest.raises(EngineError, match="HTTP 307"):
        list(asking.generate(servers_of(server, api_key=KEY)))
    assert other_server.bodies == []


def test_a_server_that_is_out_keeps_the_reason_when_a_last_request_is_lost(
    asking: Asking, server: StubServer
) -> None:
    async def lost() -> Server:
        servers, told = servers_of(server), asking.told.append
        session = open_session(servers)
        try:
            found = Server(clients(servers, session)[0], 16)
            found.state, found.trouble = State.OUT, "HTTP 401"
            work = Sampling(asking.generating(servers), 300)
            Pool(servers, [found], work, 300, lambda _: None, told).lose(found, "no connection")
        finally:
            await session.close()
        return found

    found = asyncio.run(lost())
    assert (found.state, found.trouble) == (State.OUT, "HTTP 401")
    assert asking.told == []
