"""Two stub servers, an engine that asks them, and a stub in the place of vLLM."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from figa_core.inference.vllm_python import PYTHON_VARIABLE
from figa_core.sandbox.build import Sandbox

from .asking import Asking
from .stub import StubServer
from .vllm_stub import Vllm


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub


@pytest.fixture
def other_server() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub


@pytest.fixture
def asking(sandbox: Sandbox, tmp_path: Path) -> Asking:
    return Asking(sandbox, tmp_path)


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vllm:
    stub = Vllm(tmp_path / "vllm")
    monkeypatch.setenv(PYTHON_VARIABLE, str(stub.python))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), *sys.path]))
    return stub
