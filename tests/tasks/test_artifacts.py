"""Two machines with a workspace each, of the same content through a store."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from figa_core.artifacts import claim, mirror
from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError, EngineError
from figa_core.file_hashes import hashes_of, write_sealed
from figa_core.files import whole_files
from figa_core.inference import engine as registry
from figa_core.inference.choice import Work
from figa_core.inference.elsewhere import Elsewhere
from figa_core.inference.engine import Generating
from figa_core.inference.engines import Engines
from figa_core.inference.shard_work import work_on_shards
from figa_core.models.fingerprint import model_fingerprint
from figa_core.ports import GenerationRequest
from figa_core.processes import interruption
from figa_core.records import WeighedPair
from figa_core.shards.manifest import read_manifest
from figa_core.shards.write import write_shards
from figa_core.training.stored_copy import to_send
from tasks import artifacts
from tasks.artifacts import Artifacts
from tasks.workspace import Workspace
from tests.figa_core.artifacts.test_mirror import Counting
from tests.figa_core.inference.echo import ECHO

PAIR = WeighedPair(
    pair_id="pair",
    prompt_ids=(1,),
    response_ids=(2,),
    response_classes=(3,),
    revision_ids=(4,),
    revision_classes=(1,),
    reference_ids=(),
    response_reward=0.0,
    revision_reward=1.0,
)


@dataclass
class Machine:
    """One with a workspace, and what it tells."""

    workspace: Workspace
    store: Counting
    told: list[str] = field(default_factory=list)

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.workspace, self.store, self.told.append)

    @property
    def output(self) -> Path:
        return self.workspace.training("one")

    def files(self) -> dict[str, str]:
        return {name: (self.output / name).read_text() for name in whole_files(self.output)}


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


def _shards(machine: Machine, pairs: int = 5) -> Path:
    directory = machine.workspace.shards("set")
    write_shards(
        directory,
        [replace(PAIR, pair_id=f"pair-{number}") for number in range(pairs)],
        shard_set_id="set",
        tokenizer_hash="tokenizer",
        template_hash="template",
        scheme="levenshtein",
        max_length=64,
        pairs_per_shard=2,
    )
    return directory


def _write(output: Path, **files: str) -> None:
    for name, content in files.items():
        path = output / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _checkpoint(machine: Machine, step: int) -> None:
    """As a training leaves it: figures, and the newest checkpoint only."""
    tag = f"step-{step:08d}"
    _write(machine.output, **{"metrics.jsonl": f"{step} steps", f"checkpoints__{tag}__weights": str(step)})
    directory = machine.output / "checkpoints" / tag
    files = hashes_of(directory, without=frozenset(("whole.json",)))
    write_sealed(directory / "whole.json", {"step": step, "files": files})
    for old in (machine.output / "checkpoints").glob("step-*/*"):
        if old.parent.name != tag:
            old.unlink()


def _write_model(model: Path, value: float) -> None:
    _write(model, **{"config.json": "{}"})
    save_file({"weight": np.full(3, value, dtype=np.float32)}, model / "model.safetensors")


def _fail(machine: Machine, train: Callable[[], object]) -> None:
    def failing() -> None:
        with machine.artifacts.training(machine.output):
            train()
            raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        failing()


def _finish(machine: Machine) -> None:
    for path in machine.output.rglob("checkpoints/*/*"):
        path.unlink()
    _write(machine.output, **{"metrics.jsonl": "all steps", "model__weights": "trained"})
    fields: dict[str, object] = {"training_id": "one", "steps": 9, "skipped_steps": 0, "wall_seconds": 1.0}
    fields |= {"peak_rss_bytes": 1, "versions": {}, "files": hashes_of(machine.output / "model")}
    write_sealed(machine.output / "manifest.json", fields)


# Shard sets


def test_a_shard_set_arrives_as_it_was(owner: Machine, worker: Machine) -> None:
    sent = _shards(owner)
    owner.artifacts.send_shards(sent)
    arrived = worker.workspace.shards("set")
    worker.artifacts.fetch_shards(arrived)
    assert read_manifest(arrived) == read_manifest(sent)
    assert whole_files(arrived) == whole_files(sent)
    assert owner.store.sent[-1] == "shards/set/manifest.json"
    assert worker.store.fetched[-1] == "shards/set/manifest.json"


def test_a_shard_set_that_is_there_is_neither_sent_nor_fetched_again(owner: Machine, worker: Machine) -> None:
    for _ in range(2):
        owner.artifacts.send_shards(_shards(owner))
        worker.artifacts.fetch_shards(worker.workspace.shards("set"))
    assert owner.store.sent.count("shards/set/manifest.json") == 1
    assert worker.store.fetched.count("shards/set/manifest.json") == 1


def test_a_shard_set_that_was_sent_in_part_is_sent_again(owner: Machine, worker: Machine) -> None:
    shards = _shards(owner)
    owner.store.send(shards / "pairs-00000.parquet", "shards/set/pairs-00000.parquet")
    with pytest.raises(ArtifactsError, match="there is no complete shard set shards/set"):
        worker.artifacts.fetch_shards(worker.workspace.shards("set"))
    owner.artifacts.send_shards(shards)
    worker.artifacts.fetch_shards(worker.workspace.shards("set"))


def test_a_machine_that_shares_the_disk_fetches_nothing(owner: Machine) -> None:
    shards = _shards(owner)
    owner.artifacts.send_shards(shards)
    owner.artifacts.fetch_shards(shards)
    assert owner.store.fetched == []


# Trainings


def test_the_result_of_a_training_arrives_without_checkpoints(owner: Machine, worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        _checkpoint(worker, 4)
        _finish(worker)
    owner.artifacts.fetch_result(owner.output)
    assert owner.files() == worker.files()
    assert set(owner.files()) == {"manifest.json", "metrics.jsonl", "model/weights"}
    assert worker.store.sent[-1] == "trainings/one/manifest.json"
    assert not [name for name in worker.store.listing("trainings") if "checkpoints" in name]


def test_a_finished_training_is_not_fetched_again(owner: Machine, worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        _finish(worker)
    owner.artifacts.fetch_result(owner.output)
    fetched = len(owner.store.fetched)
    owner.artifacts.fetch_result(owner.output)
    with owner.artifacts.training(owner.output):
        pass
    assert len(owner.store.fetched) == fetched


def test_another_machine_continues_from_the_newest_checkpoint(worker: Machine, another: Machine) -> None:
    _fail(worker, lambda: (_checkpoint(worker, 4), _checkpoint(worker, 8)))
    with another.artifacts.training(another.output):
        found = another.files()
    assert found["checkpoints/step-00000008/weights"] == "8"
    assert found["metrics.jsonl"] == "8 steps"
    assert "checkpoints/step-00000004/weights" not in found
    assert another.told == [f"continues from the checkpoint of step 8 in {another.store.url}"]


def test_a_checkpoint_is_sent_while_the_training_goes_on(
    worker: Machine, another: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_CHECKPOINTS_EVERY_S", 0.02)
    with worker.artifacts.training(worker.output):
        _checkpoint(worker, 4)
        _until(lambda: "trainings/one/checkpoints/step-00000004/whole.json" in worker.store.sent)
    assert worker.store.read("trainings/one/checkpoints/step-00000004/weights") == b"4"


def test_a_checkpoint_that_is_still_written_is_not_sent(worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        _write(worker.output, **{"checkpoints__step-00000004.partial__weights": "half"})
        _write(worker.output, **{"checkpoints__step-00000005__weights": "no seal"})
        _write(worker.output, **{"model__weights": "half", "metrics.jsonl": "5 steps"})
    assert worker.store.sent == ["trainings/one/metrics.jsonl"]


def test_a_machine_with_newer_checkpoints_keeps_them(worker: Machine, another: Machine) -> None:
    with worker.artifacts.training(worker.output):
        _checkpoint(worker, 4)
    _checkpoint(another, 6)
    with another.artifacts.training(another.output):
        assert another.files()["checkpoints/step-00000006/weights"] == "6"
    assert another.store.fetched == []
    assert another.store.read("trainings/one/checkpoints/step-00000006/weights") == b"6"


def test_the_run_that_waits_gets_the_errors_and_figures_of_a_failed_training(
    owner: Machine, worker: Machine
) -> None:
    failure = json.dumps({"rank": 0, "kind": "DivergedTrainingError", "message": "inf", "secondary": False})
    _fail(worker, lambda: (_checkpoint(worker, 4), _write(worker.output, **{"failure-rank0.json": failure})))
    owner.artifacts.fetch_result(owner.output)
    assert set(owner.files()) == {"metrics.jsonl", "failure-rank0.json"}
    with worker.artifacts.training(worker.output):
        (worker.output / "failure-rank0.json").unlink()
    owner.artifacts.fetch_result(owner.output)
    assert set(owner.files()) == {"metrics.jsonl"}


def test_a_training_of_this_machine_is_not_overwritten_by_older_figures(
    owner: Machine, worker: Machine
) -> None:
    with worker.artifacts.training(worker.output):
        _write(worker.output, **{"metrics.jsonl": "2 steps"})
    _checkpoint(owner, 6)
    owner.artifacts.fetch_result(owner.output)
    assert owner.files()["metrics.jsonl"] == "6 steps"


def test_two_machines_never_train_the_same_at_once(worker: Machine, another: Machine) -> None:
    trained = list[str]()

    def second() -> None:
        with another.artifacts.training(another.output):
            if not (another.output / "manifest.json").exists():
                trained.append("another")

    thread = threading.Thread(target=second)
    with worker.artifacts.training(worker.output):
        thread.start()
        _until(lambda: bool(another.told))
        trained.append("worker")
        _finish(worker)
    thread.join()
    assert trained == ["worker"]
    assert another.files() == worker.files()


# Models


def test_a_trained_model_of_the_workspace_is_had_elsewhere(owner: Machine, worker: Machine) -> None:
    _finish(owner)
    for _ in range(2):
        owner.artifacts.send_model(owner.output / "model")
        worker.artifacts.fetch_model(worker.output / "model")
    assert worker.files() == owner.files()
    assert owner.store.sent.count("trainings/one/model/weights") == 1


def test_a_merged_model_of_the_workspace_is_had_elsewhere(owner: Machine, worker: Machine) -> None:
    model = owner.workspace.merged("f" * 40)
    _write_model(model, 1.0)
    for _ in range(2):
        owner.artifacts.send_model(model)
        worker.artifacts.fetch_model(worker.workspace.merged("f" * 40))
    assert whole_files(worker.workspace.merged("f" * 40)) == ["config.json", "model.safetensors"]
    assert len(owner.store.sent) == len(worker.store.fetched) == 2


def test_another_model_of_the_same_size_under_the_same_path_is_sent_and_replaces_the_old_one(
    owner: Machine, worker: Machine
) -> None:
    for value in (1.0, 2.0):
        model = owner.workspace.directory / "base"
        _write_model(model, value)
        if value == 1.0:
            _write(model, **{"tokenizer.json": "{}"})
        else:
            (model / "tokenizer.json").unlink()
        owner.artifacts.send_model(model)
        worker.artifacts.fetch_model(worker.workspace.directory / "base")
    copy = worker.workspace.directory / "base"
    assert (copy / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert model_fingerprint(copy) == model_fingerprint(model)


def test_a_model_outside_the_workspace_is_expected_on_each_machine(owner: Machine, tmp_path: Path) -> None:
    model = tmp_path / "models" / "base"
    _write(model, **{"config.json": "{}"})
    owner.artifacts.send_model(model)
    owner.artifacts.fetch_model(model)
    assert owner.store.sent == owner.store.fetched == []


# What goes wrong


def test_a_machine_that_comes_back_late_does_not_overwrite_the_newer_training(
    worker: Machine, another: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(interruption, "request", lambda number: asked.set())
    with worker.artifacts.training(worker.output):
        _checkpoint(worker, 4)
        worker.store.write("trainings/one.claim", b"{}")  # another one has it
        _checkpoint(another, 8)
        another.artifacts._send(another.output, to_send)
        assert asked.wait(60)
        _checkpoint(worker, 5)
    assert worker.told == ["warning: another machine has taken this work over; stopping here"]
    assert worker.store.read("trainings/one/metrics.jsonl") == b"8 steps"
    assert worker.store.read("trainings/one/checkpoints/step-00000008/weights") == b"8"
    assert worker.store.read("trainings/one.claim") == b"{}"


def test_an_incomplete_copy_does_not_replace_what_is_here(worker: Machine, another: Machine) -> None:
    _fail(worker, lambda: _checkpoint(worker, 8))
    worker.store.remove(["trainings/one/checkpoints/step-00000008/weights"])
    _checkpoint(another, 4)
    with another.artifacts.training(another.output):
        assert another.files()["checkpoints/step-00000004/weights"] == "4"
    assert "is incomplete and is not used" in another.told[0]
    assert not list(another.output.parent.glob("*.partial"))


def test_only_the_checkpoints_that_a_machine_keeps_stay_in_the_store(
    worker: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_CHECKPOINTS_EVERY_S", 0.02)
    with worker.artifacts.training(worker.output):
        for step in (4, 8, 12):
            _checkpoint(worker, step)
            seal = f"trainings/one/checkpoints/step-{step:08d}/whole.json"
            _until(lambda: seal in worker.store.sent)  # noqa: B023 - at once
        _until(lambda: len(_checkpoints_in(worker.store)) == 1)
    assert _checkpoints_in(worker.store) == {"step-00000012"}


def test_what_another_machine_fetched_it_does_not_send_back(worker: Machine, another: Machine) -> None:
    _fail(worker, lambda: _checkpoint(worker, 4))
    with another.artifacts.training(another.output):
        pass
    assert another.store.sent == []


def test_of_a_training_under_way_nothing_is_fetched(owner: Machine, worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        worker.store.write("trainings/one/metrics.jsonl", b"2 steps")
        owner.artifacts.fetch_result(owner.output)
    assert not owner.output.exists()


def test_an_error_of_an_earlier_attempt_is_forgotten_also_if_the_next_one_fails(worker: Machine) -> None:
    _fail(worker, lambda: _write(worker.output, **{"failure-rank0.json": "{}"}))
    _fail(worker, (worker.output / "failure-rank0.json").unlink)
    assert worker.store.read("trainings/one/failure-rank0.json") is None


def test_something_else_is_done_by_one_machine_at_a_time(worker: Machine, another: Machine) -> None:
    order = list[str]()

    def second() -> None:
        with another.artifacts.working_on(another.workspace.sweep("one")):
            order.append("another")

    thread = threading.Thread(target=second)
    with worker.artifacts.working_on(worker.workspace.sweep("one")):
        thread.start()
        _until(lambda: bool(another.told))
        order.append("worker")
    thread.join()
    assert order == ["worker", "another"]


def _checkpoints_in(store: Store) -> set[str]:
    names = store.listing("trainings/one")
    return {name.split("/")[1] for name in names if name.startswith("checkpoints/")}


# Shards of prompts


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
        _until(shards.has_ended)


def test_a_worker_that_comes_when_all_is_done_ends_at_once(owner: Machine, workers: Workers) -> None:
    workers.missing = (1,)
    _drawn(owner, workers)
    workers.missing = ()
    (folder,) = {name.partition("/")[0] for name in owner.store.listing("scratch/generate")}
    workers.start("generate", Path(folder), 1)
    workers.threads[-1].join()
    assert workers.done[1] == 0


def _until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    waited = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        if condition():
            return
        waited.wait(0.01)
    raise AssertionError("in vain")
