"""Trainings: one machine at a time, from the newest checkpoint, with a result that all get."""

import json
import threading
from collections.abc import Iterable

import pytest

from figa_core.artifacts.store import Store
from figa_core.processes import interruption
from figa_core.training.stored_copy import to_send
from tasks import artifacts
from tests.figa_core.artifacts.counting import Counting
from tests.figa_core.artifacts.waiting import until
from tests.tasks.artifacts.machines import Machine, checkpoint, fail, finish, write


def test_the_result_of_a_training_arrives_without_checkpoints(owner: Machine, worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        checkpoint(worker, 4)
        finish(worker)
    owner.artifacts.fetch_result(owner.output)
    assert owner.files() == worker.files()
    assert set(owner.files()) == {"manifest.json", "metrics.jsonl", "model/weights"}
    assert worker.store.sent[-1] == "trainings/one/manifest.json"
    assert not [name for name in worker.store.listing("trainings") if "checkpoints" in name]


def test_a_finished_training_is_not_fetched_again(owner: Machine, worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        finish(worker)
    owner.artifacts.fetch_result(owner.output)
    fetched = len(owner.store.fetched)
    owner.artifacts.fetch_result(owner.output)
    with owner.artifacts.training(owner.output):
        pass
    assert len(owner.store.fetched) == fetched


def test_another_machine_continues_from_the_newest_checkpoint(worker: Machine, another: Machine) -> None:
    fail(worker, lambda: (checkpoint(worker, 4), checkpoint(worker, 8)))
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
        checkpoint(worker, 4)
        until(lambda: "trainings/one/checkpoints/step-00000004/whole.json" in worker.store.sent)
    assert worker.store.read("trainings/one/checkpoints/step-00000004/weights") == b"4"


def test_a_checkpoint_that_is_still_written_is_not_sent(worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        write(worker.output, **{"checkpoints__step-00000004.partial__weights": "half"})
        write(worker.output, **{"checkpoints__step-00000005__weights": "no seal"})
        write(worker.output, **{"model__weights": "half", "metrics.jsonl": "5 steps"})
    assert worker.store.sent == ["trainings/one/metrics.jsonl"]


def test_a_machine_with_newer_checkpoints_keeps_them(worker: Machine, another: Machine) -> None:
    with worker.artifacts.training(worker.output):
        checkpoint(worker, 4)
    checkpoint(another, 6)
    with another.artifacts.training(another.output):
        assert another.files()["checkpoints/step-00000006/weights"] == "6"
    assert another.store.fetched == []
    assert another.store.read("trainings/one/checkpoints/step-00000006/weights") == b"6"


def test_a_machine_with_the_checkpoint_that_is_in_the_store_fetches_nothing(worker: Machine) -> None:
    fail(worker, lambda: checkpoint(worker, 4))
    with worker.artifacts.training(worker.output):
        pass
    assert worker.store.fetched == []


def test_a_result_that_is_here_is_not_replaced_by_a_checkpoint(worker: Machine, another: Machine) -> None:
    fail(worker, lambda: checkpoint(worker, 8))
    finish(another)
    with another.artifacts.training(another.output):
        assert another.files()["model/weights"] == "trained"
    assert another.store.read("trainings/one/model/weights") == b"trained"


def test_the_run_that_waits_gets_the_errors_and_figures_of_a_failed_training(
    owner: Machine, worker: Machine
) -> None:
    failure = json.dumps({"rank": 0, "kind": "DivergedTrainingError", "message": "inf", "secondary": False})
    fail(worker, lambda: (checkpoint(worker, 4), write(worker.output, **{"failure-rank0.json": failure})))
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
        write(worker.output, **{"metrics.jsonl": "2 steps"})
    checkpoint(owner, 6)
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
        until(lambda: bool(another.told))
        trained.append("worker")
        finish(worker)
    thread.join()
    assert trained == ["worker"]
    assert another.files() == worker.files()


def test_a_machine_that_comes_back_late_does_not_overwrite_the_newer_training(
    worker: Machine, another: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(interruption, "request", lambda number: asked.set())
    with worker.artifacts.training(worker.output):
        checkpoint(worker, 4)
        worker.store.write("trainings/one.claim", b"{}")  # another one has it
        checkpoint(another, 8)
        another.artifacts._send(another.output, to_send)
        assert asked.wait(60)
        checkpoint(worker, 5)
    assert worker.told == ["warning: another machine has taken this work over; stopping here"]
    assert worker.store.read("trainings/one/metrics.jsonl") == b"8 steps"
    assert worker.store.read("trainings/one/checkpoints/step-00000008/weights") == b"8"
    assert worker.store.read("trainings/one.claim") == b"{}"


def test_a_machine_that_lost_its_training_removes_nothing_of_the_newer_one(
    worker: Machine, another: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(interruption, "request", lambda number: asked.set())
    fail(worker, lambda: checkpoint(worker, 4))
    with another.artifacts.training(another.output):
        another.store.write("trainings/one.claim", b"{}")
        assert asked.wait(60)
        checkpoint(worker, 8)
        worker.artifacts._send(worker.output, to_send)
    assert another.store.read("trainings/one/checkpoints/step-00000008/weights") == b"8"


def test_an_incomplete_copy_does_not_replace_what_is_here(worker: Machine, another: Machine) -> None:
    fail(worker, lambda: checkpoint(worker, 8))
    worker.store.remove(["trainings/one/checkpoints/step-00000008/weights"])
    checkpoint(another, 4)
    with another.artifacts.training(another.output):
        assert another.files()["checkpoints/step-00000004/weights"] == "4"
    assert "is incomplete and is not used" in another.told[0]
    assert not list(another.output.parent.glob("*.partial"))


def test_what_a_killed_machine_had_begun_to_fetch_is_not_taken_for_the_result(
    owner: Machine, worker: Machine
) -> None:
    with worker.artifacts.training(worker.output):
        finish(worker)
    write(owner.output.with_name("one.fetched.partial"), **{"model__half": "of another"})
    owner.artifacts.fetch_result(owner.output)
    assert owner.files() == worker.files()


def test_an_incomplete_result_is_not_taken_for_one(owner: Machine, worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        finish(worker)
    worker.store.write("trainings/one/model/weights", b"others")
    owner.artifacts.fetch_result(owner.output)
    assert not owner.output.exists()
    assert "trainings/one is incomplete and is not used" in owner.told[0]
    assert not list(owner.output.parent.glob("*.partial"))


def test_only_the_checkpoints_that_a_machine_keeps_stay_in_the_store(
    worker: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_CHECKPOINTS_EVERY_S", 0.02)
    with worker.artifacts.training(worker.output):
        for step in (4, 8, 12):
            checkpoint(worker, step)
            seal = f"trainings/one/checkpoints/step-{step:08d}/whole.json"
            until(lambda: seal in worker.store.sent)  # noqa: B023 - at once
        until(lambda: len(_checkpoints_in(worker.store)) == 1)
    assert _checkpoints_in(worker.store) == {"step-00000012"}


def test_an_old_checkpoint_is_removed_once_the_new_one_is_in_the_store_and_not_before(
    worker: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training writes a new one just after the old one was sent."""
    listing, remove = Counting.listing, Counting.remove
    newest_at_removal, written = list[str](), list[int]()

    def then_listing(store: Counting, below: str) -> dict[str, str]:
        if not written and "trainings/one/checkpoints/step-00000004/whole.json" in store.sent:
            written.append(8)
            checkpoint(worker, 8)
        return listing(store, below)

    def noting_remove(store: Counting, names: Iterable[str]) -> None:
        for name in names:
            if "step-00000004" in name:
                newest_at_removal.append(max(_checkpoints_in(worker.store)))
            remove(store, [name])

    monkeypatch.setattr(artifacts, "_CHECKPOINTS_EVERY_S", 0.02)
    monkeypatch.setattr(Counting, "listing", then_listing)
    monkeypatch.setattr(Counting, "remove", noting_remove)
    with worker.artifacts.training(worker.output):
        checkpoint(worker, 4)
        until(lambda: len(newest_at_removal) > 1)
    assert set(newest_at_removal) == {"step-00000008"}


def test_what_another_machine_fetched_it_does_not_send_back(worker: Machine, another: Machine) -> None:
    fail(worker, lambda: checkpoint(worker, 4))
    with another.artifacts.training(another.output):
        pass
    assert another.store.sent == []


def test_of_a_training_under_way_nothing_is_fetched(owner: Machine, worker: Machine) -> None:
    with worker.artifacts.training(worker.output):
        worker.store.write("trainings/one/metrics.jsonl", b"2 steps")
        owner.artifacts.fetch_result(owner.output)
    assert not owner.output.exists()


def test_an_error_of_an_earlier_attempt_is_forgotten_also_if_the_next_one_fails(worker: Machine) -> None:
    fail(worker, lambda: write(worker.output, **{"failure-rank0.json": "{}"}))
    fail(worker, (worker.output / "failure-rank0.json").unlink)
    assert worker.store.read("trainings/one/failure-rank0.json") is None


def test_something_else_is_done_by_one_machine_at_a_time(worker: Machine, another: Machine) -> None:
    order = list[str]()

    def second() -> None:
        with another.artifacts.working_on(another.workspace.sweep("one")):
            order.append("another")

    thread = threading.Thread(target=second)
    with worker.artifacts.working_on(worker.workspace.sweep("one")):
        thread.start()
        until(lambda: bool(another.told))
        order.append("worker")
    thread.join()
    assert order == ["worker", "another"]


def test_other_work_is_not_waited_for(worker: Machine, another: Machine) -> None:
    with (
        worker.artifacts.working_on(worker.workspace.sweep("one")),
        another.artifacts.working_on(another.workspace.sweep("two")),
    ):
        assert worker.told == another.told == []


def _checkpoints_in(store: Store) -> set[str]:
    names = store.listing("trainings/one")
    return {name.split("/")[1] for name in names if name.startswith("checkpoints/")}
