"""Rows on which a server fails, while it answers others."""

from typing import Any

import pytest
from aiohttp import web

from figa_core.ports import GenerationRequest, RowFailure, ScoringRequest

from .asking import REQUESTS, TEXTS, Asking, failures, only, servers_of
from .stub import StubServer, error


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
