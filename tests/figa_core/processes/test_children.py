"""Children never outlive the run that started them."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from figa_core.processes.children import PARENT_PID_VARIABLE, child_environment, end_leftovers

CHILD = (
    "from figa_core.processes.children import die_with_parent\ndie_with_parent()\nimport time\ntime.sleep(60)"
)


def _parent_of(child: str) -> str:
    return (
        "import subprocess, sys, time\nfrom figa_core.processes.children import child_environment\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], env=child_environment())\n"
        "print(child.pid, flush=True)\ntime.sleep(60)"
    )


def test_a_child_dies_with_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _parent_of(CHILD)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running()


def test_a_child_whose_parent_is_already_gone_ends_at_once() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    environment = {**os.environ, PARENT_PID_VARIABLE: str(gone.pid)}
    child = subprocess.Popen([sys.executable, "-c", CHILD], env=environment)
    assert child.wait(timeout=20) == -signal.SIGKILL


def test_leftovers_of_a_dead_run_are_ended_and_those_of_living_runs_are_not() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    sleep = [sys.executable, "-c", "print('ready', flush=True)\nimport time\ntime.sleep(60)"]
    orphan = subprocess.Popen(
        sleep, env={**os.environ, PARENT_PID_VARIABLE: str(gone.pid)}, stdout=subprocess.PIPE
    )
    ours = subprocess.Popen(sleep, env=child_environment(), stdout=subprocess.PIPE)
    try:
        for process in (orphan, ours):
            assert process.stdout is not None
            process.stdout.readline()
        ended = end_leftovers()
        assert any(f"({orphan.pid})" in name for name in ended)
        assert orphan.wait(timeout=20) == -signal.SIGKILL
        time.sleep(0.1)
        assert ours.poll() is None
    finally:
        for process in (orphan, ours):
            process.kill()
            process.communicate()


def test_a_child_lives_while_its_parent_does_and_gets_its_variables() -> None:
    code = (
        "import os, time\nfrom figa_core.processes.children import die_with_parent\n"
        "die_with_parent()\nprint(os.environ['EXTRA'], flush=True)\ntime.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], env=child_environment(EXTRA="yes"), stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "yes\n"
    time.sleep(0.2)
    assert child.poll() is None
    child.kill()
    child.communicate()


def test_a_child_may_print_anything_whatever_the_parents_terminal_supports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    child = subprocess.run(
        [sys.executable, "-c", "print('SFT on Ỹ', '\\udce9')"],
        env=child_environment(),
        capture_output=True,
        check=True,
    )
    assert child.stdout.decode("utf-8") == "SFT on Ỹ \\udce9\n"
