"""A signal ends a call into C, during which the main thread cannot run a handler."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from figa_core.processes import interruption
from figa_core.processes.interruptible import interruptible

# No signal ends a wait for a mutex: only another thread that unlocks it does.
WAITS_IN_C = """
import ctypes, sys
from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption
from figa_core.processes.interruptible import interruptible

libc = ctypes.CDLL(None)
mutex = ctypes.byref(ctypes.create_string_buffer(256))
libc.pthread_mutex_lock(mutex)
with interruption.listening():
    try:
        with interruptible({end}):
            print("ready", flush=True)
            libc.pthread_mutex_lock(mutex)
            print("returned", flush=True)
    except InterruptedRunError as error:
        print("interrupted", flush=True)
        sys.exit(error.exit_code)
"""


@pytest.fixture
def descriptor() -> Iterator[socket.socket]:
    """The end that is read, as in an event loop with signal handlers."""
    read, written = socket.socketpair()
    with read, written:
        read.settimeout(10)
        written.setblocking(False)
        before = signal.set_wakeup_fd(written.fileno())
        yield read
        assert signal.set_wakeup_fd(before) == written.fileno()


def _waiting(end: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WAITS_IN_C.format(end=end)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING:
        time.sleep(0.01)  # until the main thread waits
    return process


def signalled_until_it_ends(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Its output. The first signal may be handled so late that the next one counts as the same request."""
    for _ in range(40):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=0.7)[0]
    raise AssertionError("no signal ended the process")


def test_the_first_signal_ends_the_call_and_the_handler_runs() -> None:
    with _waiting("lambda: libc.pthread_mutex_unlock(mutex)") as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert output.endswith("interrupted\n")
    assert process.returncode == 128 + signal.SIGINT


def test_the_second_signal_ends_the_process_even_if_the_call_does_not_return() -> None:
    with _waiting("lambda: None") as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
        output = signalled_until_it_ends(process, signal.SIGTERM)
    assert output == "ended at once by SIGTERM\n"
    assert process.returncode == 128 + signal.SIGTERM


def test_other_signals_are_forwarded_to_the_descriptors_owner(descriptor: socket.socket) -> None:
    ended = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with interruptible(ended.set), interruptible(ended.set):
            signal.raise_signal(signal.SIGUSR1)
            assert descriptor.recv(1) == bytes([signal.SIGUSR1])
        signal.raise_signal(signal.SIGUSR1)
        assert descriptor.recv(1) == bytes([signal.SIGUSR1])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not ended.is_set()


def test_an_event_loop_gets_its_signals_during_and_after() -> None:
    heard: list[int] = []

    async def story() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.append, 1)
        with interruptible(lambda: None):
            signal.raise_signal(signal.SIGUSR1)
        while len(heard) < 1:
            await asyncio.sleep(0.001)
        signal.raise_signal(signal.SIGUSR1)
        while len(heard) < 2:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(story(), 30))
    assert heard == [1, 1]


def test_other_threads_borrow_nothing(descriptor: socket.socket) -> None:
    def inside() -> None:
        with interruptible(lambda: None):
            pass

    with ThreadPoolExecutor(1) as pool:
        pool.submit(inside).result()
    assert not interruption.requested()


TWO_HEAR_IT = """
import os, threading, time
from figa_core.processes import interruption

def slowly(line):
    time.sleep(0.2)
    os.write(2, (line + "\\n").encode())

interruption._print = slowly  # as on a slow terminal
threading.Thread(target=interruption.end_at_once, args=(2,)).start()
time.sleep(0.05)
interruption.end_at_once(2)
"""


def test_the_end_is_printed_once_even_if_two_threads_see_the_second_signal() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TWO_HEAR_IT], stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "ended at once by Ctrl-C\n")
