"""The process of a flow run ends when its parent does: gently if it can, by force if not."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

# A parent that starts a run and dies; the run records the signal that it gets, and obeys it or not.
PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"
RUN = """
import os, signal, sys, time
from pathlib import Path
from deployments.engine import end_with_parent
noted = Path({noted!r})
def note(number, frame):
    print("a line that nobody reads", flush=True)
    noted.write_text(f"{{signal.Signals(number).name}}")
    {then}
signal.signal(signal.SIGTERM, note)
end_with_parent(os.getppid(), grace_s=0.5)
noted.write_text(str(os.getpid()))
while True:
    time.sleep(0.05)
"""


def _wait(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("then", ["sys.exit()", "pass"], ids=["obeys", "does-not-obey"])
def test_a_run_whose_worker_is_killed_is_asked_to_end_and_then_ends(tmp_path: Path, then: str) -> None:
    noted = tmp_path / "noted"
    run = RUN.format(noted=str(noted), then=then)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, run], stdout=subprocess.PIPE)
    _wait(lambda: noted.is_file() and noted.read_text().isdigit())
    process = psutil.Process(int(noted.read_text()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=20)
    _wait(lambda: noted.read_text() == "SIGTERM")
    psutil.wait_procs([process], timeout=20)
    assert not process.is_running()
