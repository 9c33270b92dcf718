"""One training in one tracker: ``python -m figa_core.tracking NAME --output DIR --local DIR``.

It follows the files of the training, so that nothing waits for it, until a line on its standard input says
how the training ended; then it sends the rest and ends. Exit code 0: the tracker has everything. 3: it has
not, and a warning has said so.
"""

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from figa_core.errors import one_line
from figa_core.processes.children import die_with_parent
from figa_core.processes.tell import tell
from figa_core.tracking import files
from figa_core.tracking.secrets import without_secrets
from figa_core.tracking.sender import Sender
from figa_core.tracking.tracker import Note, Tracker

NOT_ALL = 3
SUCCEEDED, FAILED = b"succeeded", b"failed"
_POLL_S = 0.5
_AGAIN_S = 30.0  # after an error
_LOCK_S = 5.0  # for the process of a run that was just killed


def make_tracker(name: str, local: Path, note: Note) -> Tracker:
    """The adapter; `local` is the directory for what a tracker writes on this machine."""
    from figa_core.tracking import to_mlflow, to_tensorboard, to_trackio, to_wandb

    made: dict[str, Callable[[Path, Note], Tracker]] = {
        "tensorboard": to_tensorboard.TensorBoard,
        "mlflow": to_mlflow.Mlflow,
        "trackio": to_trackio.Trackio,
        "wandb": to_wandb.Wandb,
    }
    return made[name](local, note)


def main() -> int:
    """Follow the training to its end; returns the exit code."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="figa_core.tracking")
    parser.add_argument("name")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--local", type=Path, required=True)
    arguments = parser.parse_args()
    end = _End()
    try:
        # Of two runs that wait for the same training, one sends it.
        with FileLock(files.lock_of(arguments.output, arguments.name), timeout=_LOCK_S):
            sender = Sender(
                arguments.name, make_tracker(arguments.name, arguments.local, note), arguments.output
            )
            return _follow(sender, arguments.name, end)
    except Timeout:
        return 0


def note(text: str) -> None:
    """One sentence for people."""
    tell(without_secrets(text, os.environ), logging.WARNING)


class _End:
    """How the training ended, once it has: the line on standard input, or its end."""

    def __init__(self) -> None:
        self.succeeded = False
        self._ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(seconds)

    def _read(self) -> None:
        self.succeeded = sys.stdin.buffer.readline().strip() == SUCCEEDED
        self._ended.set()


def _follow(sender: Sender, name: str, end: _End) -> int:
    next_try, noted = 0.0, False
    while True:
        ended = end.wait(_POLL_S)
        if ended or time.monotonic() >= next_try:
            try:
                sender.start()
                if ended:
                    sender.finish(succeeded=end.succeeded)
                    return 0
                sender.send_steps()
            except Exception as error:  # whatever a tracker's library raises
                next_try = time.monotonic() + _AGAIN_S
                if not noted:
                    note(_problem(name, error))
                noted = True
        if ended:
            return NOT_ALL


def _problem(name: str, error: Exception) -> str:
    return (
        f"{name} does not take the training's figures ({type(error).__name__}: {one_line(error)}). The "
        "training goes on, and they are tried again; they are in its metrics.jsonl, and the same command "
        "sends what is missing."
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a library's threads must not hold this process
