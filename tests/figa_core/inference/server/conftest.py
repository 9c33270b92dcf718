"""Two stub servers, and an engine that asks them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from figa_core.sandbox.build import Sandbox

from .asking import Asking
from .stub import StubServer


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
