"""One machine at a time."""

import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from figa_core.artifacts import claim as module
from figa_core.artifacts.claim import Claim, claimed
from figa_core.artifacts.store import Store
from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption
from tests.figa_core.artifacts.faults import Misbehaving
from tests.figa_core.artifacts.waiting import until

CLAIM = "trainings/one.claim"
quickly = partial(claimed, settled_after_s=0.05)


def _by(host: str, **more: object) -> bytes:
    return json.dumps({"process": 1, "host": host, "machine": "m", "token": "t", "beat": 3, **more}).encode()


def test_a_claim_is_held_while_the_work_lasts(store: Store) -> None:
    with quickly(store, CLAIM) as claim:
        assert claim.is_own()
        assert not claim.is_lost
    assert store.read(CLAIM) is None


def test_the_second_waits_until_the_first_is_done(store: Store) -> None:
    order, told = list[str](), list[str]()

    def second() -> None:
        with quickly(store, CLAIM, told.append, lost_after_s=60):
            order.append("second")

    thread = threading.Thread(target=second)
    with quickly(store, CLAIM, beat_s=0.05):
        thread.start()
        until(lambda: told)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert told[0].startswith("waits for process ")


def test_one_that_shows_no_sign_of_life_is_taken_over(store: Store) -> None:
    told = list[str]()
    store.write(CLAIM, _by("another-host"))
    with quickly(store, CLAIM, told.append, lost_after_s=0.2):
        pass
    assert told[-1] == "process 1 on another-host shows no sign of life: its work is taken over"


def test_one_that_shows_signs_of_life_is_waited_for_however_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Looked(Store):
        looks = 0

        def read(self, name: str) -> bytes | None:
            self.looks += 1
            return super().read(name)

    now, told, lost_after_s = 0.0, list[str](), 0.2
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    store = Looked(f"file://{tmp_path}/store")
    store.write(CLAIM, _by("another-host", beat=0))

    def second() -> None:
        with quickly(store, CLAIM, told.append, lost_after_s=lost_after_s):
            told.append("has it")

    thread = threading.Thread(target=second)
    thread.start()
    for beat in range(1, 5):
        store.write(CLAIM, _by("another-host", beat=beat))
        since = store.looks
        until(lambda since=since: store.looks > since + 1)
        now += 0.75 * lost_after_s
    since = store.looks
    until(lambda: store.looks > since + 1)
    assert len(told) == 1
    store.remove([CLAIM])
    thread.join()
    assert told[1:] == ["has it"]


def test_a_damaged_claim_is_taken_over_in_time(store: Store) -> None:
    store.write(CLAIM, b"half a cla")
    with quickly(store, CLAIM, lost_after_s=0.2) as claim:
        assert claim.is_own()


def test_one_of_a_process_that_has_ended_here_is_taken_over_at_once(store: Store) -> None:
    told = list[str]()
    code = "import os, sys; print(os.getpid(), end='')"
    ended = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    about = json.loads(Claim(store, CLAIM).content())
    store.write(CLAIM, json.dumps({**about, "process": ended}).encode())
    with quickly(store, CLAIM, told.append, lost_after_s=600):
        pass
    assert "taken over" in told[-1]


@pytest.mark.parametrize("machine", ["another boot", ""])
def test_an_equal_host_name_and_a_free_process_id_are_no_death(store: Store, machine: str) -> None:
    """Virtual machines of one image have one name, and containers have process ids of their own."""
    about = json.loads(Claim(store, CLAIM).content())
    content = json.dumps({**about, "process": 2**22 + 1, "machine": machine}).encode()
    assert not module._has_ended(content)


def test_of_several_that_take_it_at_once_one_has_it(store: Store) -> None:
    """Nothing rests on the store: all write, and each looks afterwards."""
    at_work, most, done = list[int](), list[int](), list[int]()

    def work(number: int) -> None:
        with claimed(store, CLAIM, lost_after_s=60, settled_after_s=0.5, beat_s=0.05):
            at_work.append(number)
            most.append(len(at_work))
            threading.Event().wait(0.2)
            at_work.remove(number)
            done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1, 2]
    assert set(most) == {1}


def test_of_two_that_write_at_once_the_later_one_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, slept, settled_after_s = list[str](), list[float](), 7.0
    store = Store(f"file://{tmp_path}/store")

    def sleep(seconds: float) -> None:
        if seconds == settled_after_s and not slept:
            store.write(CLAIM, _by("another-host"))
        slept.append(seconds)

    monkeypatch.setattr(module, "interruption", SimpleNamespace(sleep=sleep, check=interruption.check))
    with claimed(store, CLAIM, told.append, settled_after_s=settled_after_s, lost_after_s=0.05) as claim:
        assert claim.is_own()
    assert slept[0] == settled_after_s
    assert told[0].startswith("waits for process 1 on another-host")


def test_a_holder_whose_claim_was_taken_over_is_told_and_leaves_the_others_alone(store: Store) -> None:
    lost = threading.Event()
    with quickly(store, CLAIM, beat_s=0.02, on_loss=lost.set) as claim:
        store.write(CLAIM, _by("another-host"))
        assert lost.wait(60)
        assert claim.is_lost
    assert store.read(CLAIM) == _by("another-host")


def test_a_holder_is_not_thought_dead_because_the_store_was_away(
    bucket: str, faulty: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not had the time for a sign of life yet."""
    told, now = list[str](), 0.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    store = Store(bucket)
    store.write(CLAIM, _by("another-host"))

    def second() -> None:
        with quickly(store.patient(600, told.append), CLAIM, told.append):
            told.append("has it")

    thread = threading.Thread(target=second)
    thread.start()
    until(lambda: told)
    faulty.away = True
    until(lambda: any("Trying again" in line for line in told))
    now = 2 * module.LOST_AFTER_S
    faulty.away = False
    until(lambda: told[-1].startswith("the store answers again"))
    since = len(faulty.requests)
    until(lambda: len(faulty.requests) > since)
    store.remove([CLAIM])
    thread.join()
    assert told[-1] == "has it"
    assert not [line for line in told if "no sign of life" in line]


def test_a_claim_that_was_taken_over_unnoticed_is_left_alone_at_the_end(store: Store) -> None:
    with quickly(store, CLAIM, beat_s=600):
        store.write(CLAIM, _by("another-host"))
    assert store.read(CLAIM) == _by("another-host")


def test_on_a_machine_that_cannot_be_told_from_others_nobody_has_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "machine_id", lambda: "")
    about = json.loads(Claim(store, CLAIM).content())
    assert not module._has_ended(json.dumps({**about, "process": 2**22 + 1}).encode())


def test_each_sign_of_life_is_another(store: Store) -> None:
    claim = Claim(store, CLAIM)
    store.write(CLAIM, claim.content())
    seen = set[bytes | None]()
    for _ in range(3):
        claim.beat()
        seen.add(store.read(CLAIM))
    assert len(seen) == 3


def test_a_process_of_another_host_has_not_ended(store: Store) -> None:
    about = json.loads(Claim(store, CLAIM).content())
    content = json.dumps({**about, "process": 2**22 + 1, "host": "another-host"}).encode()
    assert not module._has_ended(content)


def test_whoever_waits_can_be_stopped(store: Store) -> None:
    with quickly(store, CLAIM):
        interruption.request()
        try:
            with pytest.raises(InterruptedRunError), quickly(store, CLAIM):
                pass
        finally:
            interruption.clear()
