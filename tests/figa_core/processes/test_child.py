"""Starting, following and stopping a child."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption
from figa_core.processes.child import Child, _in_a_lasting_thread

READY = "import pathlib, sys, time\nprint('ready', flush=True)\npathlib.Path(sys.argv[1]).touch()\n"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
MORTAL = "from figa_core.processes.children import die_with_parent\ndie_with_parent()\n"
FOREVER = "time.sleep(600)\n"


def start(tmp_path: Path, program: str, *, takes_input: bool = False) -> Child:
    command = [sys.executable, "-c", program, str(tmp_path / "ready")]
    return Child(command, tmp_path / "log", takes_input=takes_input)


def test_a_child_is_waited_for_and_stopped(tmp_path: Path) -> None:
    child = start(tmp_path, READY + FOREVER)
    assert child.wait_until((tmp_path / "ready").exists)
    assert child.exit_code is None
    assert child.log_tail() == "ready"
    child.stop()
    child.stop()
    assert child.exit_code == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = start(tmp_path, STUBBORN + READY + FOREVER)
    assert child.wait_until((tmp_path / "ready").exists)
    child.stop(0.1)
    assert child.exit_code == -signal.SIGKILL


def test_waiting_ends_when_the_child_ends(tmp_path: Path) -> None:
    child = start(tmp_path, "import sys\nprint('first\\n\\nlast', flush=True)\nsys.exit('no memory')")
    assert not child.wait_until((tmp_path / "ready").exists)
    assert child.exit_code == 1
    assert child.log_tail(2) == "last\nno memory"


def test_a_childs_last_action_counts_even_if_it_has_ended(tmp_path: Path) -> None:
    child = start(tmp_path, READY)
    child._process.wait()
    seen = iter([False, True])
    assert child.wait_until(lambda: next(seen))


def test_waiting_ends_at_the_timeout_and_with_an_interruption(tmp_path: Path) -> None:
    child = start(tmp_path, READY + FOREVER)
    assert not child.wait_until(lambda: False, timeout_s=0)
    interruption.request()
    try:
        with pytest.raises(InterruptedRunError):
            child.wait_until(lambda: False)
    finally:
        interruption.clear()
        child.kill()


def test_a_child_is_sent_lines_until_it_has_ended(tmp_path: Path) -> None:
    program = "import sys\nfor line in sys.stdin: print(line[::-1], flush=True)"
    child = start(tmp_path, program, takes_input=True)
    child.send(b"olleh")
    assert child.wait_until(lambda: "hello" in child.log_tail())
    os.kill(child.pid, signal.SIGKILL)
    child._process.wait()
    child.send(b"too late")
    child.kill()


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    program = (
        "from figa_core.processes.children import die_with_parent\ndie_with_parent()\n" + READY + FOREVER
    )
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(start(tmp_path, program)))
    thread.start()
    thread.join()
    (child,) = children
    assert child.wait_until((tmp_path / "ready").exists)
    assert not child.wait_until(lambda: False, timeout_s=0.2)
    assert child.exit_code is None
    child.kill()


def test_a_missing_program_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Child([str(tmp_path / "no-program")], tmp_path / "log")


def test_a_signal_during_the_start_leaves_no_child_and_no_open_pipe() -> None:
    main = threading.main_thread().ident
    assert main is not None
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        signal.pthread_kill(main, signal.SIGINT)
        command = [sys.executable, "-c", "import time\n" + FOREVER]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return started[0]

    with pytest.raises(KeyboardInterrupt):
        _in_a_lasting_thread(start)
    assert started[0].returncode == -signal.SIGKILL
    assert started[0].stdin is not None
    assert started[0].stdin.closed


def test_a_child_that_ends_by_itself_gives_its_exit_code(tmp_path: Path) -> None:
    assert start(tmp_path, READY + "sys.exit(3)\n").finish() == 3


def test_a_request_to_stop_kills_a_child_that_is_waited_for(tmp_path: Path) -> None:
    child = start(tmp_path, READY + FOREVER)
    assert child.wait_until((tmp_path / "ready").exists)
    interruption.request()
    try:
        with pytest.raises(InterruptedRunError):
            child.finish()
    finally:
        interruption.clear()
    assert child.exit_code == -signal.SIGKILL
