"""Samples of one prompt go to one server, which keeps the prompt in its prefix cache."""

from typing import Any, cast

from figa_core.inference.server.client import Client
from figa_core.inference.server.jobs import Job
from figa_core.inference.server.open_jobs import OpenJobs
from figa_core.inference.server.server import Server, State
from figa_core.ports import GenerationRequest
from tests.figa_core.inference.outcomes import generations

from .asking import Asking, all_of, servers_of
from .stub import StubServer, error

SAMPLES = 4
# Forty prompts of four samples each; neither is a multiple of what a server has at once.
REQUESTS = [
    GenerationRequest(f"{prompt}-{sample}", (5 + prompt, 6, 7), 1000 * prompt + sample)
    for prompt in range(40)
    for sample in range(SAMPLES)
]


def servers(count: int = 2, most: int = 3) -> list[Server]:
    """Nobody asks them."""
    session = cast("Any", None)
    return [Server(Client(f"http://{number}", session, 1.0, None), most) for number in range(count)]


def jobs(*counts: int) -> list[Job]:
    """So many samples of each prompt."""
    return [
        Job([GenerationRequest(f"{prompt}-{sample}", (prompt,), sample)])
        for prompt, count in enumerate(counts)
        for sample in range(count)
    ]


def given(found: OpenJobs) -> list[tuple[str, str]]:
    """What is given out now: the server and the row of each job."""
    out = []
    while (taken := found.take()) is not None:
        server, job = taken
        server.in_flight += 1
        out.append((server.client.root[-1], job.rows[0].request_id))
    return out


def test_the_samples_of_a_prompt_wait_for_the_server_that_has_it() -> None:
    first, second = both = servers()
    found = OpenJobs(both, by_prompt=True)
    for job in jobs(4, 4, 4):
        found.last(job)
    assert given(found) == [
        ("0", "0-0"), ("0", "0-1"), ("0", "0-2"), ("1", "1-0"), ("1", "1-1"), ("1", "1-2"),
    ]  # fmt: skip
    second.in_flight -= 1
    assert given(found) == [("1", "1-3")]
    second.in_flight -= 1
    assert given(found) == [("1", "2-0")]
    first.in_flight -= 2
    assert given(found) == [("0", "0-3"), ("0", "2-1")]  # nothing else is left for it
    for job in jobs(0, 0, 5)[4:]:  # one that comes later
        found.add(job)
    assert [len(server.own) for server in both] == [0, 3]


def test_jobs_that_wait_for_a_lost_server_are_the_next_for_the_others() -> None:
    first, second = both = servers()
    found = OpenJobs(both, by_prompt=True)
    for job in jobs(5, 3, 1):
        found.last(job)
    given(found)
    first.state = State.AWAY
    found.leave(first)
    second.in_flight = 0
    assert given(found) == [("1", "0-3"), ("1", "0-4"), ("1", "2-0")]


def test_other_jobs_go_to_the_server_with_the_lowest_load() -> None:
    found = OpenJobs(servers(), by_prompt=False)
    for job in jobs(4):
        found.add(job)
    assert given(found) == [("0", "0-0"), ("1", "0-1"), ("0", "0-2"), ("1", "0-3")]


def test_samples_of_one_prompt_alone_keep_every_server_busy(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    for stub in (server, other_server):
        stub.delay_s = 0.02
    requests = [GenerationRequest(f"sample-{seed}", (5, 6, 7), seed) for seed in range(100)]
    assert generations(asking.generate(servers_of(server, other_server), requests)) == all_of(requests)
    assert min(len(server.bodies), len(other_server.bodies)) > 25


def test_samples_that_wait_for_a_server_that_is_lost_or_rests_go_to_the_other(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    async def before(body: object) -> object:
        return error(429, "too many", **{"Retry-After": "60"}) if len(server.bodies) > 30 else None

    server.before = before  # pyright: ignore[reportAttributeAccessIssue]
    for stub in (server, other_server):
        stub.delay_s = 0.02
    rows = asking.generate(servers_of(server, other_server, most_in_flight=7), REQUESTS)
    assert generations(rows) == all_of(REQUESTS)
    assert len(server.bodies) <= 30 + 7


def test_a_server_dies_with_samples_that_wait_for_it(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    for stub in (server, other_server):
        stub.delay_s = 0.05
    rows = iter(asking.generate(servers_of(server, other_server, most_in_flight=7), REQUESTS))
    found = [*next(rows)]
    server.stop()
    found += [row for batch in rows for row in batch]
    assert generations([found]) == all_of(REQUESTS)
