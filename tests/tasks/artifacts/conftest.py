"""Three machines, and claims that settle sooner than across a network."""

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from figa_core.artifacts import claim
from figa_core.artifacts.patience import Patience
from tasks.workspace import Workspace
from tests.figa_core.artifacts.counting import Counting
from tests.figa_core.artifacts.faults import Misbehaving, misbehaving
from tests.figa_core.artifacts.s3 import environment, make_bucket, s3_server
from tests.tasks.artifacts.machines import Machine


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims settle and beat faster than across a network, and pauses are shorter."""
    defaults = claim.claimed.__wrapped__.__kwdefaults__  # pyright: ignore[reportFunctionMemberAccess]
    monkeypatch.setitem(defaults, "settled_after_s", 0.05)
    monkeypatch.setitem(defaults, "beat_s", 0.1)
    for module in ("figa_core.artifacts.store", "tasks.artifacts"):
        monkeypatch.setattr(f"{module}.Patience", partial(Patience, first_s=0.01))


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


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Misbehaving]:
    """An S3 server that misbehaves as it is told."""
    with s3_server() as server, misbehaving(server) as found:
        for name, value in environment(found.endpoint).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield found


@pytest.fixture
def in_s3(faulty: Misbehaving, tmp_path: Path) -> Callable[[str], Machine]:
    """Machines whose store is behind that server."""
    name = f"figa-{uuid.uuid4().hex[:12]}"
    make_bucket(name)
    return lambda machine: Machine(Workspace(tmp_path / machine), Counting(f"s3://{name}/assistant"))
