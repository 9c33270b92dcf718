"""Adapters that servers load which are not the run's own."""

import json
from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.inference.engine import Generating, open_engine
from figa_core.inference.servers import Servers
from figa_core.models.adapter import WEIGHTS
from figa_core.ports import Generation
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations

from .adapters import random_adapter
from .asking import KEY, REQUESTS, all_of, servers_of
from .stub import STOP, StubServer


@pytest.fixture
def adapter(sandbox: Sandbox, tmp_path: Path) -> Path:
    return random_adapter(sandbox.base_model, tmp_path / "adapter", seed=1)


def drawn(adapter: Path, servers: Servers, scratch: Path) -> dict[str, Generation]:
    settings = Generating(adapter, (STOP,), max_tokens=8, max_prompt_tokens=292, servers=servers)
    return generations(open_engine("server").generator(settings, scratch).generate(REQUESTS))


def test_every_server_that_answers_loads_an_adapter_once_and_samples_it(
    adapter: Path, server: StubServer, other_server: StubServer, tmp_path: Path
) -> None:
    gone = StubServer()
    with gone:
        pass
    stubs = (server, other_server)
    for stub in stubs:
        stub.delay_s = 0.02
    servers = servers_of(*stubs, gone, loads=True, api_key=KEY)
    for _ in range(2):
        assert drawn(adapter, servers, tmp_path) == all_of(REQUESTS)
    assert [stub.loads for stub in stubs] == [1, 1]
    assert [[*stub.adapters.values()] for stub in stubs] == [[str(adapter)]] * 2
    assert all({body["model"] for body in stub.bodies} == {*stub.adapters} for stub in stubs)


def test_another_adapter_at_the_same_path_is_another_model(
    adapter: Path, server: StubServer, tmp_path: Path
) -> None:
    drawn(adapter, servers_of(server, loads=True), tmp_path)
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": 1}))
    drawn(adapter, servers_of(server, loads=True), tmp_path)
    assert (adapter / WEIGHTS).exists()
    assert server.loads == len(server.adapters) == 2


def test_a_server_with_a_loaded_adapter_is_still_asked_by_its_only_own_model(
    adapter: Path, sandbox: Sandbox, server: StubServer, tmp_path: Path
) -> None:
    drawn(adapter, servers_of(server, loads=True), tmp_path)
    sent = len(server.bodies)
    assert drawn(sandbox.base_model, servers_of(server), tmp_path) == all_of(REQUESTS)
    assert {body["model"] for body in server.bodies[sent:]} == {server.name}


def test_a_server_that_loads_no_adapters_says_what_it_needs(
    adapter: Path, server: StubServer, tmp_path: Path
) -> None:
    server.has_room_for_adapters = False
    with pytest.raises(
        EngineError, match=r"does not load the adapter .*HTTP 404.*--lora-rank 2.*load_adapters = false"
    ):
        drawn(adapter, servers_of(server, loads=True), tmp_path)
