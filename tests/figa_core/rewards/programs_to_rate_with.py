"""Reward programs that tests import in worker processes: good ones, and all kinds of bad ones."""

import ctypes
import math
import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figa_core.records import Message


def length(messages: Sequence[Message], text: str) -> float:
    return len(messages) + len(text) / 10


def called(messages: Sequence[Message], text: str) -> bool:
    return "weather" in messages[-1].more


def right(messages: Sequence[Message], text: str, *, answer: int, reference: str | None = None) -> bool:
    return text == str(answer) or text == reference


def as_told(messages: Sequence[Message], text: str) -> Any:
    """Does what the text says; any other text is its own length."""
    do = _DEEDS.get(text)
    return float(len(text)) if do is None else do()


def _raise() -> None:
    raise ValueError("no, thank\nyou.")


async def _later() -> float:
    return 1.0


def _raise_half_a_character() -> None:
    raise ValueError("half \ud83d")


def _hang() -> None:
    while True:
        time.sleep(1)


def _eat() -> int:
    return len(bytearray(2**32))


def _eat_shared() -> int:
    shared = mmap.mmap(-1, 2**30)  # not private memory, which the kernel limits
    for place in range(0, 2**30, 4096):
        shared[place] = 1
    time.sleep(5)
    return 1


def _fork() -> float:
    os.fork()
    return 5.0


def _fork_and_stay() -> float:
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    return 6.0


def _start_a_program() -> float:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["FIGA_TEST_PID_FILE"]).write_text(str(process.pid))
    return 7.0


def _bomb() -> float:
    while True:
        with_pid = os.fork()
        if with_pid == 0:
            time.sleep(600)
        time.sleep(0.001)


def _end_soon() -> float:
    threading.Thread(target=lambda: (time.sleep(0.1), os._exit(9))).start()
    return 8.0


def _scribble() -> float:
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        try:
            if number > 2:
                os.write(number, b"nonsense\n")
        except OSError:
            continue
    return 1.0


_DEEDS = {
    "raise": _raise,
    "raise half": _raise_half_a_character,
    "exit": lambda: sys.exit("enough"),
    "end": lambda: os._exit(3),
    "crash": lambda: ctypes.string_at(0),
    "hang": _hang,
    "none": lambda: None,
    "text": lambda: "0.5",
    "object": lambda: object(),
    "infinity": lambda: math.inf,
    "nan": lambda: math.nan,
    "later": _later,
    "true": lambda: True,
    "eat": _eat,
    "eat shared": _eat_shared,
    "fork": _fork,
    "fork and stay": _fork_and_stay,
    "start": _start_a_program,
    "bomb": _bomb,
    "end soon": _end_soon,
    "scribble": _scribble,
}
