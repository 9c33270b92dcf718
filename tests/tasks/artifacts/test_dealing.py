"""Shards of prompts, dealt to machines with disks of their own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from figa_core.artifacts import mirror
from figa_core.errors import EngineError
from figa_core.inference import engine as registry
from figa_core.inference.choice import Work
from figa_core.inference.elsewhere import Elsewhere
from figa_core.inference.engine import Generating
from figa_core.inference.engines import Engines
from figa_core.inference.shard_work import work_on_shards
from figa_core.ports import GenerationRequest
from tests.figa_core.artifacts.waiting import until
from tests.figa_core.inference.echo import ECHO
from tests.tasks.artifacts.machines import Machine

ROWS = [GenerationRequest(f"row-{number}", (number % 7, 4), number) for number in range(60)]


@dataclass
class Workers:
    """Machines with workspaces of their own, whose workers are threads."""

    machine: Callable[[str], Machine]
    threads: list[threading.Thread] = field(default_factory=list)
    done: dict[int, int] = field(default_factory=dict)
    missing: tuple[int, ...] = ()

    def start(self, task: str, folder: Path, number: int) -> Any:
        machine = self.machine(f"worker-{number}")

        def work() -> None:
            with suppress(EngineError), machine.artifacts.working(task, folder.name, number) as shards:
                self.done[number] = work_on_shards(shards, number, lambda _: "the model")

        thread = threading.Thread(target=work)
        if number not in self.missing:
            thread.start()
            self.threads.append(thread)
        return _Run(f"{task} {number}")


@dataclass
class _Run:
    name: str

    def ended(self) -> str | None:
        return None

    def cancel(self) -> None:
        return


@pytest.fixture
def workers(machine: Callable[[str], Machine], monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    names: dict[str, Any] = {}
    exec(ECHO, names)
    monkeypatch.setattr(registry, "_factories", {**registry._factories, "echo": names["Echo"]})
    monkeypatch.setitem(mirror.Mirror.__init__.__kwdefaults__ or {}, "every_s", 0.02)
    workers = Workers(machine)
    yield workers
    for thread in workers.threads:
        thread.join()


def _drawn(owner: Machine, workers: Workers) -> list[str]:
    elsewhere = Elsewhere(2, workers, lambda _: "the model", exchange=owner.artifacts.dealing)
    model = owner.workspace.directory.parent / "model"
    model.mkdir(exist_ok=True)
    engines = Engines(owner.told.append, elsewhere)
    settings = Generating(model, (2,), rows_per_shard=6)
    dealt = engines.generator("echo", settings, Work(60, 2), owner.workspace.scratch("generate"))
    return sorted(map(repr, chain(*dealt.generate(ROWS))))


def test_workers_on_other_disks_draw_what_one_engine_draws_here(
    owner: Machine, workers: Workers, tmp_path: Path
) -> None:
    found = _drawn(owner, workers)
    settings = Generating(tmp_path / "model", (2,), rows_per_shard=6)
    here = Engines().generator("echo", settings, Work(60, 2), tmp_path / "here")
    assert found == sorted(map(repr, chain(*here.generate(ROWS))))
    for thread in workers.threads:
        thread.join()
    assert sum(workers.done.values()) == 10
    assert not list(tmp_path.glob("worker-*/**/*.parquet"))


def test_the_shards_of_earlier_runs_are_removed_from_the_store(owner: Machine, workers: Workers) -> None:
    _drawn(owner, workers)
    first = {name.partition("/")[0] for name in owner.store.listing("scratch/generate")}
    _drawn(owner, workers)
    second = {name.partition("/")[0] for name in owner.store.listing("scratch/generate")}
    assert len(first) == len(second) == 1
    assert first != second


def test_a_worker_whose_dealer_has_gone_on_to_other_shards_ends(worker: Machine, workers: Workers) -> None:
    store = worker.store
    store.write("scratch/generate/dealt-1/dealer", b"0")
    store.write("scratch/generate/dealt-1/work.json", b"{}")
    with worker.artifacts.working("generate", "dealt-1", 0) as shards:
        assert not shards.has_ended()
        store.remove(f"scratch/generate/dealt-1/{name}" for name in ("dealer", "work.json"))
        until(shards.has_ended)


def test_a_worker_that_comes_when_all_is_done_ends_at_once(owner: Machine, workers: Workers) -> None:
    workers.missing = (1,)
    _drawn(owner, workers)
    workers.missing = ()
    (folder,) = {name.partition("/")[0] for name in owner.store.listing("scratch/generate")}
    workers.start("generate", Path(folder), 1)
    workers.threads[-1].join()
    assert workers.done[1] == 0
