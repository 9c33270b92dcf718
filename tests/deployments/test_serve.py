"""`make serve` says why it cannot start."""

import socket
from pathlib import Path

import pytest
from filelock import FileLock

from deployments.serve import main


def test_a_taken_port_is_named_with_an_alternative(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--directory", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"port {port} is taken" in error
    assert "make serve PORT=4201" in error


def test_a_directory_that_another_one_uses_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FileLock(tmp_path / "serve.lock"):
        assert main(["--directory", str(tmp_path)]) == 1
    assert "another `make serve` is using this directory" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["--directory", str(blocked / "serve")]) == 1
    assert str(blocked) in capsys.readouterr().err
