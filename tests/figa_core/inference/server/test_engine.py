"""The rows of a stage on servers that answer."""

import asyncio
import threading
from collections.abc import Iterable

import pytest

from figa_core.inference.servers import Servers
from figa_core.ports import Generation, GenerationRequest
from tests.figa_core.inference.outcomes import generations, rewards

from .asking import KEY, REQUESTS, TEXTS, Asking, all_of, failures, servers_of
from .stub import StubServer, reward


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
