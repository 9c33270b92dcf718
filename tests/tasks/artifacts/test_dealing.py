"""Shards of prompts, dealt to machines with disks of their own."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from figa_core.artifacts import mirror
from figa_core.errors import ArtifactsError, EngineError
from figa_core.inference import engine as registry
from figa_core.inference.choice import Work
from figa_core.inference.elsewhere import Elsewhere
from figa_core.inference.engine import Generating
from figa_core.inference.engines import Engines
from figa_core.inference.shard_folder import LOST_AFTER_S, new_folder
from figa_core.inference.shard_work import work_on_shards
from figa_core.ports import GenerationRequest
from tasks import artifacts as artifacts_module
from tests.figa_core.artifacts.faults import Fault, Misbehaving
from tests.figa_core.artifacts.waiting import until
from tests.figa_core.inference.echo import ECHO
from tests.tasks.artifacts.machines import Machine, write

ROWS = [GenerationRequest(f"row-{number}", (number % 7, 4), number) for number in range(60)]


@dataclass
class Workers:
    """Machines with workspaces of their own, whose workers are threads."""

    machine: Callable[[str], Machine]
    machines: dict[int, Machine] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)
    done: dict[int, int] = field(default_factory=dict)
    missing: tuple[int, ...] = ()

    def start(self, task: str, folder: Path, number: int) -> Any:
        machine = self.machines[number] = self.machine(f"worker-{number}")

        def work() -> None:
            with (
                suppress(EngineError, ArtifactsError),
                machine.artifacts.working(task, folder.name, number) as shards,
            ):
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


def _batches(owner: Machine, workers: Workers) -> Iterator[Sequence[Any]]:
    elsewhere = Elsewhere(2, workers, lambda _: "the model", exchange=owner.artifacts.dealing)
    model = owner.workspace.directory.parent / "model"
    model.mkdir(exist_ok=True)
    engines = Engines(owner.told.append, elsewhere)
    settings = Generating(model, (2,), rows_per_shard=6)
    return iter(
        engines.generator("echo", settings, Work(60, 2), owner.workspace.scratch("generate")).generate(ROWS)
    )


def _drawn(owner: Machine, workers: Workers) -> list[str]:
    return sorted(map(repr, chain(*_batches(owner, workers))))


def _drawn_here(tmp_path: Path) -> list[str]:
    settings = Generating(tmp_path / "model", (2,), rows_per_shard=6)
    here = Engines().generator("echo", settings, Work(60, 2), tmp_path / "here")
    return sorted(map(repr, chain(*here.generate(ROWS))))


def test_workers_on_other_disks_draw_what_one_engine_draws_here(
    owner: Machine, workers: Workers, tmp_path: Path
) -> None:
    assert _drawn(owner, workers) == _drawn_here(tmp_path)
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


def test_what_a_killed_worker_has_left_is_removed_and_nothing_is_left_at_the_end(worker: Machine) -> None:
    old = worker.workspace.scratch("generate") / "copy-0-dealt-0"
    others = worker.workspace.scratch("generate") / "copy-1-dealt-0"
    for directory in (old, others):
        directory.mkdir(parents=True)
    worker.store.write("scratch/generate/dealt-1/work.json", b"{}")
    with worker.artifacts.working("generate", "dealt-1", 0) as shards:
        assert not old.exists()
        assert others.exists()
        assert shards.path.is_dir()
    assert not shards.path.exists()


def test_the_model_of_the_shards_is_sent_before_them_if_it_is_in_the_workspace(owner: Machine) -> None:
    model = owner.workspace.directory / "base"
    write(model, **{"config.json": "{}"})
    save_file({"weight": np.ones(3, dtype=np.float32)}, model / "model.safetensors")
    folder = new_folder(owner.workspace.scratch("generate"), "1")
    (folder.path / "work.json").write_text("{}")
    with owner.artifacts.dealing(folder.path, model):
        assert owner.store.read("scratch/generate/dealt-1/work.json") == b"{}"  # before a worker begins
    assert owner.store.sent.index("base/model.safetensors") < owner.store.sent.index(
        "scratch/generate/dealt-1/work.json"
    )


def test_a_worker_that_comes_when_all_is_done_ends_at_once(owner: Machine, workers: Workers) -> None:
    workers.missing = (1,)
    _drawn(owner, workers)
    workers.missing = ()
    (folder,) = {name.partition("/")[0] for name in owner.store.listing("scratch/generate")}
    workers.start("generate", Path(folder), 1)
    workers.threads[-1].join()
    assert workers.done[1] == 0


@dataclass
class Clock:
    """That of the signs of life: it goes only when a test says so, and so a busy machine loses nobody."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("figa_core.inference.shard_folder.time", clock)
    monkeypatch.setattr("figa_core.inference.shard_folder.BEAT_S", 0.05)
    return clock


def test_a_store_that_is_away_for_longer_than_a_worker_may_be_silent_loses_no_row_and_deals_none_twice(
    faulty: Misbehaving, in_s3: Callable[[str], Machine], workers: Workers, tmp_path: Path, clock: Clock
) -> None:
    workers.machine = in_s3
    owner = in_s3("owner")
    batches = _batches(owner, workers)
    found = [next(batches)]
    machines = [owner, *workers.machines.values()]

    def be_away() -> None:
        faulty.away = True
        until(lambda: all(any("Trying again" in line for line in each.told) for each in machines))
        for _ in range(20):
            clock.now += LOST_AFTER_S / 4
            threading.Event().wait(0.1)  # for a look at the others
        faulty.away = False

    thread = threading.Thread(target=be_away)
    thread.start()
    found += batches
    thread.join()
    drawn = (tmp_path / "model" / "drawn").read_text().split()
    assert sorted(drawn) == sorted(row.request_id for row in ROWS)
    assert sorted(map(repr, chain(*found))) == _drawn_here(tmp_path)
    assert not [line for line in owner.told if "has ended" in line]


def test_a_store_that_misbehaves_now_and_then_loses_no_row_and_deals_none_twice(
    faulty: Misbehaving, in_s3: Callable[[str], Machine], workers: Workers, tmp_path: Path
) -> None:
    faults = cycle((None, None, Fault.RESET, None, Fault.SLOW_DOWN, None, None, Fault.CUT))
    workers.machine = in_s3
    owner = in_s3("owner")
    faulty.fault_of = lambda _: next(faults)
    found = _drawn(owner, workers)
    drawn = (tmp_path / "model" / "drawn").read_text().split()
    assert sorted(drawn) == sorted(row.request_id for row in ROWS)
    assert found == _drawn_here(tmp_path)


def test_a_store_that_stays_away_ends_the_run_and_the_same_goes_on_when_it_is_back(
    faulty: Misbehaving, in_s3: Callable[[str], Machine], workers: Workers, tmp_path: Path
) -> None:
    def machine(name: str) -> Machine:
        return replace(in_s3(name), away_s=1.0)

    workers.machine = machine
    owner = machine("owner")
    batches = _batches(owner, workers)
    next(batches)
    faulty.away = True
    with pytest.raises(ArtifactsError, match=r"away or overloaded.*It was tried for \d+ s\.$"):
        list(batches)
    for thread in workers.threads:
        thread.join()
    faulty.away = False
    assert _drawn(owner, workers) == _drawn_here(tmp_path)


def test_a_store_that_is_away_when_all_rows_are_here_is_no_error(
    faulty: Misbehaving, in_s3: Callable[[str], Machine], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts_module, "_END_S", 0.2)
    workers.machine = lambda name: replace(in_s3(name), away_s=1.0)
    owner = in_s3("owner")
    batches = _batches(owner, workers)
    found = list(chain(*islice(batches, 10)))
    faulty.away = True
    found += chain(*batches)
    assert len(found) == len(ROWS)
    assert "cannot" in owner.told[-1]
