"""Requests to stop: set once, seen everywhere; and how signals become requests."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption


@pytest.fixture(autouse=True)
def _nobody_asked() -> Iterator[None]:
    interruption.clear()
    yield
    interruption.clear()


def test_nothing_is_raised_without_a_request() -> None:
    interruption.check()
    assert not interruption.requested()


def test_a_request_is_raised_in_every_thread_and_stays() -> None:
    interruption.request()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            interruption.check()
        except InterruptedRunError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with pytest.raises(InterruptedRunError, match="the same command continues"):
        interruption.check()
    assert len(raised) == 1


def test_a_signals_handler_ends_a_wait() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: interruption.request())
    try:
        threading.Timer(0.1, signal.raise_signal, [signal.SIGUSR1]).start()
        begun = time.monotonic()
        interruption.sleep(60)
        assert time.monotonic() - begun < 30
        assert interruption.requested()
    finally:
        signal.signal(signal.SIGUSR1, before)


PROGRAM = """
import asyncio, os, signal, sys, time
from figa_core.processes import interruption
from figa_core.errors import InterruptedRunError

def ready():
    print("ready", flush=True)

{body}
"""


class Program:
    """Python code in another process, without a terminal, that prints when it is ready for a signal."""

    def __init__(self, body: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(body=body)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Exit code and what it printed after "ready"."""
        with self.process as process:
            assert process.stdout is not None
            return process.wait(timeout=30), process.stdout.read()


WORKS = """
with interruption.listening(), interruption.doing("the work: it is stored"):
    try:
        ready()
        time.sleep(60)
    except InterruptedRunError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")],
)
def test_a_signal_names_the_work_at_once_and_ends_it(number: int, name: str) -> None:
    program = Program(WORKS)
    program.signal(number)
    code, output = program.ended()
    assert output.splitlines() == [
        f"stopping: the work: it is stored ({name} again ends at once)",
        f"stopped by {name}: the same command continues",
    ]
    assert code == 128 + number


def test_a_second_signal_ends_a_program_that_does_not_stop() -> None:
    program = Program(
        "with interruption.listening(), interruption.cooperating():\n    ready()\n    time.sleep(60)"
    )
    program.signal(signal.SIGINT)
    assert program.process.stdout is not None
    assert program.process.stdout.readline().startswith("stopping: ")
    time.sleep(0.6)
    program.signal(signal.SIGTERM)
    assert program.ended() == (128 + signal.SIGTERM, "ended at once by SIGTERM\n")


def test_a_request_that_arrives_twice_is_one() -> None:
    program = Program(
        """
with interruption.listening(), interruption.cooperating():
    ready()
    while not interruption.requested():
        time.sleep(0.01)
    signal.raise_signal(signal.SIGINT)
    print("still here", flush=True)
"""
    )
    program.signal(signal.SIGINT)
    code, output = program.ended()
    assert (code, output.splitlines()[1:]) == (0, ["still here"])


WAITS = """
async def main():
    with interruption.cancellable():
        try:
            {wait}
        finally:
            await asyncio.sleep(0.1)
            print("stored", flush=True)

with interruption.listening():
    try:
        asyncio.run(main())
    except (InterruptedRunError, asyncio.CancelledError) as error:
        print(type(error).__name__, flush=True)
"""


@pytest.mark.parametrize(
    ("wait", "raised"),
    [
        ("asyncio.get_running_loop().call_later(0.1, ready); await asyncio.sleep(60)", "CancelledError"),
        ("ready(); time.sleep(60)", "InterruptedRunError"),
        (
            "asyncio.get_running_loop().call_later(0.1, ready); await asyncio.to_thread(time.sleep, 1)",
            "CancelledError",
        ),
    ],
    ids=["while-it-waits", "in-the-middle-of-work", "with-a-thread"],
)
def test_a_cancelled_task_may_still_await_running_calls(wait: str, raised: str) -> None:
    program = Program(WAITS.format(wait=wait))
    program.signal(signal.SIGTERM)
    code, output = program.ended()
    assert (code, output.splitlines()[1:]) == (0, ["stored", raised])


def test_cooperating_work_finishes_something_first() -> None:
    program = Program(
        """
with interruption.listening():
    try:
        with interruption.cooperating():
            ready()
            while not interruption.requested():
                time.sleep(0.01)
            print("checkpoint", flush=True)
            interruption.check()
    except InterruptedRunError:
        print("ended", flush=True)
"""
    )
    program.signal(signal.SIGINT)
    assert program.ended()[1].splitlines()[1:] == ["checkpoint", "ended"]


def test_sigterm_is_taken_back_and_returned_at_the_end() -> None:
    program = Program(
        """
def theirs(number, frame):
    print("theirs", flush=True)

with interruption.listening():
    signal.signal(signal.SIGTERM, theirs)
    try:
        with interruption.cancellable():
            ready()
            time.sleep(60)
    except InterruptedRunError:
        signal.raise_signal(signal.SIGTERM)
"""
    )
    program.signal(signal.SIGTERM)
    assert program.ended()[1].splitlines()[1:] == ["theirs"]


def test_a_signal_that_was_ignored_at_the_start_stays_ignored() -> None:
    program = Program(
        """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with interruption.listening():
    ready()
    signal.raise_signal(signal.SIGHUP)
    print("survives", flush=True)
"""
    )
    assert program.ended() == (0, "survives\n")


def test_without_a_terminal_sigint_counts_even_if_a_shell_ignored_it() -> None:
    program = Program(WORKS, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    program.signal(signal.SIGINT)
    assert program.ended()[0] == 128 + signal.SIGINT


def test_outside_the_main_thread_nothing_is_installed() -> None:
    def listen() -> None:
        with interruption.listening():
            found.append(signal.getsignal(signal.SIGTERM))

    found: list[object] = []
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_another_kind_of_interruption_can_be_raised() -> None:
    class OtherError(InterruptedRunError):
        pass

    interruption.raise_as(OtherError)
    try:
        interruption.request(signal.SIGTERM)
        with pytest.raises(OtherError, match="stopped by SIGTERM"):
            interruption.check()
    finally:
        interruption.raise_as(InterruptedRunError)
