"""The API of a run: anything but a Prefect server at the configured address is refused."""

import os
import ssl
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import prefect
import pytest
from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, temporary_settings

from figa_core.errors import ConfigError
from flows.server.api import prefect_api
from flows.server.process import PrefectServer
from tests.certificates import write_certificate


class Somebody:
    """A server that answers with a status and a body for each path, or with any bytes."""

    def __init__(
        self,
        answers: dict[str, tuple[int, bytes]] | None = None,
        *,
        raw: bytes = b"",
        certificate: Path | None = None,
    ) -> None:
        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                path = self.rfile.readline().split()[1].decode()
                while self.rfile.readline().strip():
                    pass
                status, body = (answers or {}).get(path, (404, b"<html>nothing here</html>"))
                head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
                self.wfile.write(raw or head.encode() + body)

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        scheme = "http" if certificate is None else "https"
        self.api_url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/api"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


HEALTHY = {"/api/health": (200, b"true")}


@pytest.mark.parametrize(
    ("somebody", "words"),
    [
        (Somebody, "no Prefect API (status 404); the address of one ends in /api"),
        (
            partial(Somebody, {"/api/health": (200, b"<html>hello</html>")}),
            "its /health does not return true",
        ),
        (partial(Somebody, {"/api/health": (500, b"")}), "no Prefect API (status 500)"),
        (partial(Somebody, {"/api/health": (401, b""), "/api/admin/version": (401, b"{}")}), "the key"),
        (partial(Somebody, {"/api/health": (403, b""), "/api/admin/version": (403, b"{}")}), "the key"),
        (partial(Somebody, raw=b"-ERR unknown command\r\n"), "nothing answers there (-ERR unknown command)"),
        (partial(Somebody, HEALTHY | {"/api/admin/version": (200, b'"2.20.1"')}), "server: 2.20.1"),
        (partial(Somebody, HEALTHY | {"/api/admin/version": (404, b"40100")}), "(Client error '404"),
    ],
    ids=["404", "html", "500", "401", "403", "no-http", "prefect-2", "no-version"],
)
def test_an_address_where_another_server_answers_is_refused(
    somebody: Callable[[], Somebody], words: str, tmp_path: Path
) -> None:
    there = somebody()
    try:
        assert words in _refusal(there.api_url, tmp_path)
    finally:
        there.close()


@pytest.mark.parametrize("url", ["localhost:4200/api", "an-address", "http://127.0.0.1:9/api"])
def test_an_address_where_nothing_answers_is_refused(url: str, tmp_path: Path) -> None:
    assert f"PREFECT_API_URL = {url}: nothing answers there" in _refusal(url, tmp_path)


def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "")
    with temporary_settings({PREFECT_API_URL: ""}), prefect_api(tmp_path) as own:
        assert own is not None
        assert os.environ["PREFECT_API_URL"] == own.api_url
    assert os.environ["PREFECT_API_URL"] == ""


def _refusal(url: str, directory: Path) -> str:
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ConfigError) as refused,
        prefect_api(directory),
    ):
        pass
    message = str(refused.value)
    assert "\n" not in message
    assert "unset it" in message
    return message


def test_the_address_of_a_server_may_end_in_a_slash(prefect_server: PrefectServer, tmp_path: Path) -> None:
    with (
        temporary_settings({PREFECT_API_URL: f"{prefect_server.api_url}/"}),
        prefect_api(tmp_path) as own,
    ):
        assert own is None


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path / "certificate.pem")


def test_a_private_certificate_is_trusted_if_prefects_settings_do(certificate: Path, tmp_path: Path) -> None:
    version = f'"{prefect.__version__}"'.encode()
    there = Somebody(HEALTHY | {"/api/admin/version": (200, version)}, certificate=certificate)
    try:
        assert "certificate verify failed" in _refusal(there.api_url, tmp_path)
        with (
            temporary_settings({PREFECT_API_URL: there.api_url, PREFECT_API_SSL_CERT_FILE: str(certificate)}),
            prefect_api(tmp_path) as own,
        ):
            assert own is None
    finally:
        there.close()
