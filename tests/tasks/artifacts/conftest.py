"""Three machines, and claims that settle sooner than across a network."""

from collections.abc import Callable
from pathlib import Path

import pytest

from figa_core.artifacts import claim
from tasks.workspace import Workspace
from tests.figa_core.artifacts.counting import Counting
from tests.tasks.artifacts.machines import Machine


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims settle and beat faster than across a network."""
    defaults = claim.claimed.__wrapped__.__kwdefaults__  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setitem(defaults, "settled_after_s", 0.05)
    monkeypatch.setitem(defaults, "beat_s", 0.1)


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    url = f"file://{tmp_path}/store"
    return lambda name: Machine(Workspace(tmp_path / name), Counting(url))


@pytest.fixture
def owner(machine: Callable[[str], Machine]) -> Machine:
    return machine("owner")


@pytest.fixture
def worker(machine: Callable[[str], Machine]) -> Machine:
    return machine("worker")


@pytest.fixture
def another(machine: Callable[[str], Machine]) -> Machine:
    return machine("another")
