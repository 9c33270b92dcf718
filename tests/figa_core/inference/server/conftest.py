"""Two stub servers, and what an engine asks them."""

from collections.abc import Iterator

import pytest

from .stub import StubServer


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub


@pytest.fixture
def other_server() -> Iterator[StubServer]:
    with StubServer() as stub:
        yield stub
