"""The engine on servers that answer, fall away, come back and misbehave."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from figa_core.errors import EngineError
from figa_core.inference.engine import Generating, Scoring, open_engine
from figa_core.inference.servers import Servers
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest
from figa_core.records import FinishReason
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations, rewards

from .stub import STOP, StubServer, completion, error, reward, sample

Rows = Iterable[Sequence[Generation | RowFailure]]
REQUESTS = [GenerationRequest(f"row-{i}", (5 + i % 7, 6, 7), i) for i in range(200)]
TEXTS = [ScoringRequest(f"text-{i}", (1 + i % 9, 2, 3)) for i in range(100)]
KEY = "a-secret-key"


def servers_of(*stubs: StubServer, **changes: Any) -> Servers:
    settings: dict[str, Any] = {"patience_s": 1.5, "most_in_flight": 16} | changes
    return Servers(tuple(stub.url for stub in stubs), **settings)


class Asking:
    """Generates and scores with the sandbox's models as the servers' models; `told` has what people see."""

    def __init__(self, sandbox: Sandbox, scratch: Path) -> None:
        self.sandbox, self.scratch = sandbox, scratch
        self.told: list[str] = []

    def generate(self, servers: Servers, requests: Iterable[GenerationRequest] = REQUESTS) -> Rows:
        settings = Generating(
            self.sandbox.base_model,
            (STOP,),
            max_tokens=8,
            max_prompt_tokens=292,
            rows_per_shard=32,
            servers=servers,
        )
        return open_engine("server", self.told.append).generator(settings, self.scratch).generate(requests)

    def score(self, servers: Servers, requests: Iterable[ScoringRequest] = TEXTS) -> Any:
        settings = Scoring(self.sandbox.reward_model, max_length=300, servers=servers)
        return open_engine("server", self.told.append).scorer(settings, self.scratch).score(requests)


@pytest.fixture
def asking(sandbox: Sandbox, tmp_path: Path) -> Asking:
    return Asking(sandbox, tmp_path)


def of(request: GenerationRequest) -> Generation:
    ids = sample(list(request.prompt_ids), request.seed, 3)[:-1]
    return Generation(request.request_id, tuple(ids), FinishReason.STOP)


def all_of(requests: Iterable[GenerationRequest]) -> dict[str, Generation]:
    return {request.request_id: of(request) for request in requests}


def failures(rows: Rows) -> tuple[dict[str, Generation], dict[str, str]]:
    """Samples, and the reasons of the rows without one."""
    found = [row for batch in rows for row in batch]
    samples = {row.request_id: row for row in found if isinstance(row, Generation)}
    return samples, {row.row_id: row.reason for row in found if isinstance(row, RowFailure)}


def only(seed: int, answer: Callable[[dict[str, Any]], web.Response]) -> Any:
    """A behaviour: `answer` for the row with this seed, and the usual one for the others."""

    async def before(body: dict[str, Any]) -> web.Response | None:
        return answer(body) if body["seed"] == seed else None

    return before


def test_every_row_gets_its_own_sample(asking: Asking, server: StubServer) -> None:
    assert generations(asking.generate(servers_of(server))) == all_of(REQUESTS)
    assert len(server.bodies) == len(REQUESTS)
    assert {body["model"] for body in server.bodies} == {"tiny"}


def test_rewards_are_those_of_their_texts(asking: Asking, server: StubServer) -> None:
    found = rewards(asking.score(servers_of(server)))
    assert found == {text.subject_id: reward(list(text.token_ids)) for text in TEXTS}
    assert len(server.bodies) == 4


def test_nothing_to_do_asks_nothing(asking: Asking, server: StubServer) -> None:
    assert [*asking.generate(servers_of(server), [])] == []
    assert server.bodies == []


def test_an_address_may_end_in_v1_and_the_key_goes_with_every_request(
    asking: Asking, server: StubServer
) -> None:
    servers = Servers((server.url + "/v1/",), api_key=KEY)
    assert generations(asking.generate(servers, REQUESTS[:3])) == all_of(REQUESTS[:3])
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


def test_two_servers_share_the_rows(asking: Asking, server: StubServer, other_server: StubServer) -> None:
    for stub in (server, other_server):
        stub.delay_s = 0.02
    assert generations(asking.generate(servers_of(server, other_server))) == all_of(REQUESTS)
    assert len(server.bodies) + len(other_server.bodies) == len(REQUESTS)
    assert min(len(server.bodies), len(other_server.bodies)) > len(REQUESTS) / 4


def test_a_server_never_has_more_requests_than_the_settings_allow(asking: Asking, server: StubServer) -> None:
    server.delay_s = 0.02
    assert generations(asking.generate(servers_of(server, most_in_flight=5))) == all_of(REQUESTS)
    assert server.most_at_once <= 5


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


def test_a_server_that_comes_back_with_another_model_gets_nothing(asking: Asking, server: StubServer) -> None:
    server.delay_s = 0.02
    rows = iter(asking.generate(servers_of(server, model="tiny", patience_s=30)))
    assert next(rows)
    server.stop()
    server.name, asked = "another", len(server.bodies)
    server.start()
    with pytest.raises(EngineError, match=r"no model called 'tiny'.*it has another"):
        list(rows)
    assert len(server.bodies) == asked


def test_a_row_that_the_server_refuses_is_recorded_and_the_others_go_on(
    asking: Asking, server: StubServer
) -> None:
    server.before = only(7, lambda _: error(400, "This prompt is odd"))
    samples, reasons = failures(asking.generate(servers_of(server)))
    assert len(samples) == len(REQUESTS) - 1
    assert reasons == {
        "row-7": "the server could not process this row (HTTP 400: This prompt is odd)",
    }


def test_a_text_that_the_server_refuses_is_found_among_those_of_its_request(
    asking: Asking, server: StubServer
) -> None:
    odd = ScoringRequest("odd", (99, 98))

    async def before(body: dict[str, Any]) -> web.Response | None:
        return error(400, "no") if [99, 98] in body["input"] else None

    server.before = before
    found = [row for batch in asking.score(servers_of(server), [*TEXTS[:40], odd]) for row in batch]
    assert [row.row_id for row in found if isinstance(row, RowFailure)] == ["odd"]
    assert len(found) == 41


@pytest.mark.parametrize("count", [200, 1], ids=["among others", "as the last one"])
def test_a_row_on_which_a_server_fails_is_given_up_only_if_the_server_answers_others(
    asking: Asking, server: StubServer, count: int
) -> None:
    requests = [*REQUESTS[:20], *(GenerationRequest(f"late-{i}", (5,), 1000 + i) for i in range(count))]
    server.before = only(1000, lambda _: error(500, "kernel failed"))
    samples, reasons = failures(asking.generate(servers_of(server, patience_s=30), requests))
    assert reasons.keys() == {"late-0"}
    assert "HTTP 500: kernel failed" in reasons["late-0"]
    assert len(samples) == len(requests) - 1


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
        (lambda body: web.Response(text="<html>proxy</html>"), "not JSON"),
        (lambda body: web.json_response({"choices": []}), "0 samples"),
        (lambda body: error(500, "broken"), "HTTP 500: broken"),
    ],
    ids=["no ids", "garbage", "no rows", "errors"],
)
def test_a_server_without_a_single_usable_answer_ends_the_run_and_fails_no_row(
    asking: Asking, server: StubServer, answer: Callable[[dict[str, Any]], web.Response], words: str
) -> None:
    async def before(body: dict[str, Any]) -> web.Response:
        return answer(body)

    server.before = before
    with pytest.raises(EngineError, match=words):
        list(asking.generate(servers_of(server, patience_s=0.7)))


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


def test_rows_that_the_model_cannot_read_are_not_sent(asking: Asking, server: StubServer) -> None:
    bad = [
        GenerationRequest("empty", (), 1),
        GenerationRequest("long", (5,) * 300, 1),
        GenerationRequest("unknown", (10**6,), 1),
    ]
    samples, reasons = failures(asking.generate(servers_of(server), [*bad, *REQUESTS[:3], bad[0]]))
    assert samples == all_of(REQUESTS[:3])
    assert reasons["empty"] == "there is no token to read"
    assert reasons["long"].startswith("too long for the model")
    assert "outside the model's vocabulary" in reasons["unknown"]
    assert len(server.bodies) == 3


def test_rows_that_cannot_be_sent_come_back_in_batches_too(asking: Asking, server: StubServer) -> None:
    empty = [GenerationRequest(f"empty-{i}", (), 1) for i in range(100)]
    batches = [len(batch) for batch in asking.generate(servers_of(server), empty)]
    assert sum(batches) == 100
    assert max(batches) == 32
    assert server.bodies == []


def test_rows_are_read_as_they_are_needed(
    asking: Asking, server: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("figa_core.inference.server.bridge.WINDOW_ROWS", 50)
    read = 0

    def requests() -> Iterable[GenerationRequest]:
        nonlocal read
        for request in REQUESTS:
            read += 1
            yield request

    done = 0
    for batch in asking.generate(servers_of(server), requests()):
        assert read <= done + 50 + len(batch)
        done += len(batch)
    assert done == len(REQUESTS)


def test_who_stops_early_leaves_no_thread_behind(asking: Asking, server: StubServer) -> None:
    server.delay_s = 0.02
    rows = asking.generate(servers_of(server))
    assert next(iter(rows))
    rows.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not [each for each in threading.enumerate() if each.name == "vllm-servers"]


def test_it_also_works_within_an_event_loop(asking: Asking, server: StubServer) -> None:
    async def within() -> dict[str, Generation]:
        return generations(asking.generate(servers_of(server), REQUESTS[:5]))

    assert asyncio.run(within()) == all_of(REQUESTS[:5])


def test_a_server_with_a_shorter_context_is_refused_before_the_first_row(
    asking: Asking, server: StubServer
) -> None:
    server.max_length = 299
    with pytest.raises(EngineError, match=r"at most 299 tokens .*a row may have 300"):
        asking.generate(servers_of(server))
    assert server.bodies == []


def test_a_server_with_another_model_is_refused(asking: Asking, server: StubServer) -> None:
    with pytest.raises(EngineError, match=r"no model called 'mine'.*it has tiny"):
        asking.generate(servers_of(server, model="mine"))


def test_a_server_with_several_models_asks_for_a_name(asking: Asking, server: StubServer) -> None:
    cards = [{"id": name, "owned_by": "vllm", "max_model_len": 300} for name in ("tiny", "lora")]
    server.models = lambda: web.json_response({"data": cards})
    with pytest.raises(
        EngineError, match=r"several models \(tiny, lora\)\. Name one: generation.server.model"
    ):
        asking.generate(servers_of(server))
    found = generations(asking.generate(servers_of(server, model="lora"), REQUESTS[:3]))
    assert found == all_of(REQUESTS[:3])
    assert {body["model"] for body in server.bodies} == {"lora"}


@pytest.mark.parametrize(
    "models",
    [
        lambda: web.Response(text="<html>hello</html>"),
        lambda: web.json_response({"detail": "Not Found"}, status=404),
        lambda: web.json_response({"data": [{"id": "gpt", "owned_by": "openai"}]}),
    ],
    ids=["a web page", "nothing there", "another kind of server"],
)
def test_an_address_without_a_vllm_is_refused(
    asking: Asking, server: StubServer, models: Callable[[], web.Response]
) -> None:
    server.models = models
    with pytest.raises(EngineError, match="Give the address of a vLLM server"):
        asking.generate(servers_of(server))


def test_all_problems_of_the_servers_are_said_at_once(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    server.max_length, other_server.name = 10, "another"
    with pytest.raises(EngineError) as raised:
        asking.generate(servers_of(server, other_server, model="tiny"))
    assert "at most 10 tokens" in str(raised.value)
    assert "no model called 'tiny'" in str(raised.value)


def test_without_an_answer_from_any_address_nothing_starts(asking: Asking) -> None:
    gone = StubServer()
    with gone:
        pass
    with pytest.raises(EngineError, match=r"no vLLM server of generation.server.urls answers"):
        asking.generate(servers_of(gone))


def test_without_an_address_the_settings_are_named(asking: Asking) -> None:
    with pytest.raises(EngineError, match=r"generation.server.urls names no server"):
        asking.generate(Servers(()))
    with pytest.raises(EngineError, match=r"reward.server.urls names no server"):
        asking.score(Servers(()))
