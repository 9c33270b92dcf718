"""What is refused before the first row."""

from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from figa_core.errors import EngineError
from figa_core.inference.server.protocol import ServedModel
from figa_core.inference.server.survey import another_name
from figa_core.inference.servers import Servers
from tests.certificates import write_certificate
from tests.figa_core.inference.outcomes import generations

from .asking import KEY, REQUESTS, Asking, all_of, servers_of
from .stub import StubServer


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


def test_servers_with_different_models_are_not_mixed(
    asking: Asking, server: StubServer, other_server: StubServer
) -> None:
    other_server.name = "another"
    with pytest.raises(EngineError, match=r"urls: the servers have different models \(.*tiny.*another\)"):
        asking.generate(servers_of(server, other_server))
    assert server.bodies == other_server.bodies == []


@pytest.mark.parametrize(
    ("root", "directory", "found"),
    [
        ("/models/tiny", "/here/tiny", None),
        ("/models/served/", "/here/tiny-alias", None),
        ("owner/tiny", "/cache/models--owner--tiny/snapshots/0123abcd", None),
        ("/models/big", "/here/tiny", "/models/big"),
        (None, "/here/tiny", "tiny-alias"),
    ],
)
def test_a_model_that_was_loaded_from_a_directory_of_another_name_may_be_another(
    root: str | None, directory: str, found: str | None
) -> None:
    model = ServedModel("tiny-alias", max_length=300, by_vllm=True, root=root)
    assert another_name(model, Path(directory)) == found


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


def test_a_servers_private_certificate_is_trusted_if_the_environment_names_it(
    asking: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = StubServer()
    stub.certificate = write_certificate(tmp_path / "certificate.pem")
    with stub:
        with pytest.raises(EngineError, match="certificate verify failed"):
            asking.generate(servers_of(stub))
        monkeypatch.setenv("SSL_CERT_FILE", str(stub.certificate))
        found = generations(asking.generate(servers_of(stub, api_key=KEY), REQUESTS[:5]))
    assert found == all_of(REQUESTS[:5])
    assert {headers["Authorization"] for headers in stub.headers} == {f"Bearer {KEY}"}
