"""One machine at a time."""

import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from figa_core.artifacts.claim import claimed
from figa_core.artifacts.store import Store
from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption

CLAIM = "trainings/one.claim"


def test_a_claim_is_held_while_the_work_lasts(store: Store) -> None:
    with claimed(store, CLAIM):
        assert b"process" in (store.read(CLAIM) or b"")
    assert store.read(CLAIM) is None


def test_the_second_waits_until_the_first_is_done(store: Store) -> None:
    order, told = list[str](), list[str]()
    has_it = threading.Event()

    def second() -> None:
        with claimed(store, CLAIM, told.append, lost_after_s=60):
            order.append("second")

    thread = threading.Thread(target=second)
    with claimed(store, CLAIM, beat_s=0.05):
        thread.start()
        while not told:
            has_it.wait(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert told[0].startswith("waits for process ")


def test_one_that_shows_no_sign_of_life_is_taken_over(store: Store) -> None:
    told = list[str]()
    store.create(CLAIM, b"process 1 on another-host, 3")
    with claimed(store, CLAIM, told.append, lost_after_s=0.2):
        pass
    assert told[-1] == "process 1 on another-host shows no sign of life: its work is taken over"


def test_one_of_a_process_that_has_ended_here_is_taken_over_at_once(store: Store) -> None:
    told = list[str]()
    code = "import os, socket; print(f'process {os.getpid()} on {socket.gethostname()}, 7', end='')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    store.create(CLAIM, ended)
    with claimed(store, CLAIM, told.append, lost_after_s=600):
        pass
    assert "taken over" in told[-1]


def test_whoever_waits_can_be_stopped(store: Store) -> None:
    with claimed(store, CLAIM), ExitStack() as stack:
        interruption.request()
        stack.callback(interruption.clear)
        with pytest.raises(InterruptedRunError), claimed(store, CLAIM):
            pass
