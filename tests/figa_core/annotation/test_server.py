"""The page's requests: who may make them, and what wrong ones get."""

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from figa_core.annotation import server
from figa_core.errors import ConfigError
from figa_core.processes.lease import workspace_lease

from .made import SHARDS, new_desk

SAID = {"shard_set_id": SHARDS, "pair_id": "pair-a", "annotator": "ada"}
JUDGED = {**SAID, "change": "8-9:8-9", "verdict": "matters", "blind": False}


@pytest.fixture
async def client(tmp_path: Path) -> Any:
    transport = httpx.ASGITransport(app=server.application(new_desk(tmp_path)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as client:
        yield client


async def test_a_pair_is_shown_and_judged(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/next", params={"annotator": "ada", "after": -1})).json() == {"place": 0}
    assert (await client.get("/api/pair", params={"annotator": "ada", "place": 0})).json()["verdicts"] == {}
    assert (await client.post("/api/judgement", json=JUDGED)).json() == {"finished": True}
    assert (await client.get("/api/state", params={"annotator": "ada"})).json()["done"] == 1


@pytest.mark.parametrize("path", ["/", "/annotate.js", "/annotate.css", "/spoken_edits.css"])
async def test_no_script_but_the_page_s_own_may_run(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "innerHTML" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"content-type": "text/plain"}],
    ids=["another host's name", "another site's page", "a form"],
)
async def test_what_another_site_s_page_can_send_is_refused(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.post("/api/exclusion", json={**SAID, "out": True}, headers=headers)
    assert answer.status_code in (400, 403)
    assert (await client.get("/api/state", params={"annotator": "ada"})).json()["excluded"] == 0


@pytest.mark.parametrize(
    "body",
    [{}, {**JUDGED, "verdict": "perhaps"}, {**JUDGED, "blind": "yes"}, {**JUDGED, "more": 1}, [], "x"],
)
async def test_a_message_that_is_none_of_the_page_gets_an_error_in_words(
    client: httpx.AsyncClient, body: object
) -> None:
    answer = await client.post("/api/judgement", json=body)
    assert answer.status_code == 400
    assert "not a message of this page" in answer.json()["error"]


async def test_a_message_that_is_too_long_is_not_read_to_its_end(client: httpx.AsyncClient) -> None:
    body = {**SAID, "text": "x" * 2_000_001, "based_on": "pair-a"}
    assert (await client.post("/api/correction", json=body)).status_code == 400


async def test_refusals_say_why(client: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = await client.post("/api/judgement", json={**JUDGED, "shard_set_id": "another"})
    assert answer.status_code == 409
    assert "another run or scheme" in answer.json()["error"]
    assert answer.json()["another_job"]
    with workspace_lease(tmp_path, owner="figa run"):
        answer = await client.post("/api/exclusion", json={**SAID, "out": True})
    assert (answer.status_code, answer.json()["busy"]) == (409, True)
    assert (await client.get("/api/pair", params={"annotator": "ada", "place": "x"})).status_code == 400
    assert (await client.get("/api/pair", params={"annotator": "ada", "place": "9"})).status_code == 409


async def test_a_pair_is_thrown_out_put_back_and_corrected(client: httpx.AsyncClient) -> None:
    assert (
        await client.post("/api/exclusion", json={**SAID, "out": True, "reason": "no"})
    ).status_code == 200
    assert (await client.post("/api/exclusion", json={**SAID, "out": False})).status_code == 200
    corrected = await client.post("/api/correction", json={**SAID, "text": "4", "based_on": "pair-a"})
    assert corrected.json()["author"] == "ada"


def test_a_port_that_is_taken_is_reported() -> None:
    with server.listen(0) as taken, pytest.raises(ConfigError, match="Choose another, or 0"):
        server.listen(taken.getsockname()[1])


def test_no_part_of_an_answer_waits_for_the_acknowledgement_of_the_one_before() -> None:
    with server.listen(0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
