"""The vLLM servers before a run."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flows.checks.servers import check_servers, check_serving, check_workers
from tests.figa_core.inference.server.stub import StubServer

from .conftest import MakeFacts


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(max_length=4096) as stub:
        stub.root = "/models/base"
        yield stub


def findings(facts: MakeFacts, **sections: dict[str, Any]) -> list[tuple[bool, str]]:
    return [(found.is_problem, str(found)) for found in check_servers(facts(**sections))]


def at(*urls: str, **more: Any) -> dict[str, Any]:
    return {"engine": "server", "server": {"urls": list(urls)} | more}


def test_without_the_engine_nothing_is_asked(facts: MakeFacts) -> None:
    assert findings(facts) == []


def test_servers_that_no_engine_uses_are_a_warning(facts: MakeFacts) -> None:
    found = findings(facts, generation={"engine": "vllm", "server": {"urls": ["http://127.0.0.1:1"]}})
    [(is_problem, text)] = found
    assert not is_problem
    assert 'generation.engine is "vllm", not "server"' in text


def test_a_server_that_is_what_the_settings_say_passes(facts: MakeFacts, server: StubServer) -> None:
    assert findings(facts, generation=at(server.url), reward=at(server.url, model="tiny")) == []
    assert server.bodies == []


def test_a_server_whose_model_has_another_name_is_a_warning_unless_the_settings_name_it(
    facts: MakeFacts, server: StubServer
) -> None:
    server.root = "/models/another"
    [(is_problem, text)] = findings(facts, generation=at(server.url))
    assert not is_problem
    assert f"{server.url} has /models/another, and generation.model is " in text
    assert findings(facts, generation=at(server.url, model=server.name)) == []


def test_an_engine_without_addresses_is_a_problem(facts: MakeFacts) -> None:
    [(is_problem, text)] = findings(facts, reward={"engine": "server"})
    assert is_problem
    assert text.startswith("reward.server.urls: names no server")


def test_a_context_is_compared_with_the_longest_row(facts: MakeFacts, server: StubServer) -> None:
    server.max_length = 100
    lengths = {"prompts": {"max_prompt_tokens": 80}, "generation": at(server.url) | {"max_tokens": 21}}
    [(is_problem, text)] = findings(facts, **lengths)
    assert is_problem
    assert "at most 100 tokens (--max-model-len), and a row may have 101" in text
    assert findings(facts, **lengths | {"prompts": {"max_prompt_tokens": 79}}) == []


def test_a_server_that_is_away_is_a_warning_because_nothing_may_need_it(
    facts: MakeFacts, server: StubServer
) -> None:
    server.stop()
    [(is_problem, text)] = findings(facts, generation=at(server.url))
    assert not is_problem
    assert f"{server.url} does not answer now" in text


def test_servers_that_a_run_starts_itself_are_for_generation_and_have_no_addresses(
    facts: MakeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed = {"engine": "server", "server": {"managed": True}}
    monkeypatch.setattr("flows.checks.servers.find_vllm_python", lambda: sys.executable)
    assert findings(facts, generation=managed) == []
    [(is_problem, text)] = findings(facts, reward=managed)
    assert is_problem
    assert 'Set reward.engine = "vllm"' in text
    assert "reward.server.urls" in text
    [(is_problem, text)] = findings(facts, generation=at("http://127.0.0.1:9", managed=True))
    assert is_problem
    assert "Choose one of the two" in text
    monkeypatch.setattr("flows.checks.servers.find_vllm_python", lambda: None)
    [(is_problem, text)] = findings(facts, generation=managed)
    assert is_problem
    assert text.startswith("generation.server.managed: no environment with vLLM")


@pytest.mark.parametrize(
    ("section", "server", "why"),
    [
        ("generation", {"managed": True}, "managed servers always do"),
        ("reward", {"urls": ["http://127.0.0.1:9"]}, "reward models have none"),
    ],
)
def test_adapters_that_nobody_would_load_are_a_warning(
    facts: MakeFacts, monkeypatch: pytest.MonkeyPatch, section: str, server: dict[str, Any], why: str
) -> None:
    monkeypatch.setattr("flows.checks.servers.find_vllm_python", lambda: sys.executable)
    settings = {"engine": "server", "server": {**server, "load_adapters": True}}
    is_problem, text = findings(facts, **{section: settings})[0]
    assert not is_problem
    assert text == f"{section}.server.load_adapters: is not used: {why}."


@pytest.fixture
def of_workers(facts: MakeFacts) -> Callable[..., list[tuple[bool, str]]]:
    def found(**sections: dict[str, Any]) -> list[tuple[bool, str]]:
        return [(found.is_problem, str(found)) for found in check_workers(facts(**sections))]

    return found


def test_workers_need_a_prefect_server_that_has_some(
    of_workers: Callable[..., list[tuple[bool, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_workers() == []
    monkeypatch.setattr("flows.server.api.configured_url", lambda: None)
    [(is_problem, text)] = of_workers(generation={"workers": 2})
    assert is_problem
    assert "set PREFECT_API_URL" in text
    monkeypatch.setattr("flows.server.api.configured_url", lambda: "http://127.0.0.1:4200/api")
    assert of_workers(generation={"workers": 2}) == []


def test_workers_beside_servers_that_do_everything_are_a_warning(
    of_workers: Callable[..., list[tuple[bool, str]]],
) -> None:
    both = {"generation": at("http://127.0.0.1:9") | {"workers": 2}, "reward": at("http://127.0.0.1:9")}
    [(is_problem, text)] = of_workers(**both)
    assert not is_problem
    assert text.startswith("generation.workers: is not used")


OWN = {"engine": "server", "server": {"managed": True}}


@pytest.fixture
def of_serving(facts: MakeFacts) -> Callable[..., list[tuple[bool, str]]]:
    def found(**sections: dict[str, Any]) -> list[tuple[bool, str]]:
        return [(found.is_problem, str(found)) for found in check_serving(facts(**sections))]

    return found


def test_own_servers_on_the_pool_need_a_prefect_server_and_a_shared_disk_but_no_vllm_here(
    of_serving: Callable[..., list[tuple[bool, str]]], facts: MakeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_pool = {**OWN, "serving": {"pool": True}}
    monkeypatch.setattr("flows.checks.servers.find_vllm_python", lambda: None)
    assert findings(facts, generation=on_pool) == []
    monkeypatch.setattr("flows.server.api.configured_url", lambda: None)
    [(is_problem, text)] = of_serving(generation=on_pool)
    assert is_problem
    assert "set PREFECT_API_URL" in text
    monkeypatch.setattr("flows.server.api.configured_url", lambda: "http://127.0.0.1:4200/api")
    assert of_serving(generation=on_pool) == []
    [(is_problem, text)] = of_serving(generation=on_pool, storage={"artifacts": "memory://store"})
    assert is_problem
    assert "share the disk" in text


@pytest.mark.parametrize(
    ("generation", "words"),
    [
        ({**OWN, "serving": {"listen": "0.0.0.0"}}, "generation.serving.listen: is not used: pool is false"),
        (
            {"serving": {"pool": True}},
            "generation.serving.pool: is not used: the run has no servers of its own",
        ),
    ],
)
def test_settings_of_servers_that_are_not_used_are_a_warning(
    generation: dict[str, Any], words: str, of_serving: Callable[..., list[tuple[bool, str]]]
) -> None:
    [(is_problem, text)] = of_serving(generation=generation)
    assert not is_problem
    assert text.startswith(words)


def test_settings_at_their_defaults_are_no_warning(
    of_serving: Callable[..., list[tuple[bool, str]]],
) -> None:
    """A stored run gives every setting."""
    assert of_serving(generation={"serving": {"pool": False, "listen": "127.0.0.1"}}) == []
