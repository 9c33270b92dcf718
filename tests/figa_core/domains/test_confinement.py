import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from figa_core.domains import confined
from figa_core.domains.confined import decode, encode
from figa_core.domains.confinement import CodeError, Confined, Limits

SECONDS = 20.0
"""For code that ends itself; a busy machine may need long to start a process."""
PATIENT = Limits(SECONDS)


def call(source: str, *arguments: object, limits: Limits = PATIENT) -> object:
    with Confined(source, "f", limits) as function:
        return function(*arguments)


def test_a_function_gets_arguments_and_gives_a_result_of_the_same_types():
    source = "import math\ndef f(a, *, b=0):\n    return a, b, {1, 2}, {(1,): None}, math.inf, True"
    with Confined(source, "f") as function:
        assert function([1, 2.5], b="ä\n") == ([1, 2.5], "ä\n", {1, 2}, {(1,): None}, float("inf"), True)
        assert function(2) == (2, 0, {1, 2}, {(1,): None}, float("inf"), True)


def test_a_value_comes_through_with_its_types():
    value = [1, 1.0, True, None, "x", (1, [2]), {1: {"a": {3}}}, float("-inf"), 10**30]
    assert repr(decode(encode(value))) == repr(value)


def test_an_object_that_says_it_equals_everything_is_no_result():
    source = "class A:\n    def __eq__(self, other): return True\ndef f(): return A()"
    assert call(source) != 1


@pytest.mark.parametrize(
    "body",
    [
        "return 1 / 0",
        "raise SystemExit(0)",
        "import os\n    os._exit(0)",
        "import os\n    os.kill(os.getppid(), 9)",
        "import os\n    os.fork()\n    return 1",
        "import subprocess\n    subprocess.run(['true'])\n    return 1",
        "import threading\n    threading.Thread(target=print).start()\n    return 1",
        "import socket\n    socket.create_connection(('127.0.0.1', 9))\n    return 1",
        "import ctypes\n    ctypes.CDLL(None).getpid()\n    return 1",
        "return open('/etc/hostname').read()",
        "return [0] * 10**10",
        "return 'x' * 10**7",
        "return f()",
        "import gc, sys\n    [o.close() for o in gc.get_objects() if hasattr(o, 'fileno')]\n    return 1",
    ],
)
def test_code_that_ends_or_reaches_out_does_not_answer(body):
    with pytest.raises(CodeError):
        call(f"def f():\n    {body}")


@pytest.mark.parametrize(
    "source", ["", "def f(", "f = 3", "import os; os._exit(0)", "raise SystemExit(0)", "\0"]
)
def test_source_without_the_function_does_not_answer(source):
    with pytest.raises(CodeError):
        call(source)


@pytest.mark.parametrize(
    "body", ["while True: pass", "while True: print('x' * 1000)", "import time; time.sleep(99)"]
)
def test_code_that_hangs_or_floods_is_ended_in_time(body):
    started = time.monotonic()
    with pytest.raises(CodeError, match=r"took more than 0\.8 s"):
        call(f"def f():\n    {body}", limits=Limits(seconds=0.8))
    assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize(("written", "result"), [("42", 42), ("pass", CodeError), ("{}", CodeError)])
def test_code_that_rewrites_the_checker_only_answers_for_itself(written, result):
    source = f"import json\njson.dumps = lambda value: {written!r}\ndef f(): return 1"
    if result is CodeError:
        with pytest.raises(CodeError, match="wrote over"):
            call(source)
    else:
        assert call(source) == result


def test_code_cannot_remove_a_file_or_leave_one(tmp_path):
    victim = tmp_path / "victim"
    victim.touch()
    for body in (
        f"os.remove({str(victim)!r})",
        f"open({str(victim)!r}, 'w').write('x')",
        "open('here', 'w')",
    ):
        with pytest.raises(CodeError):
            call(f"import os\ndef f():\n    {body}")
    assert victim.read_text() == ""


def test_after_a_failure_every_further_call_fails_at_once():
    with Confined("def f(x): return 1 // x", "f") as function:
        assert function(1) == 1
        for value in (0, 1):
            with pytest.raises(CodeError):
                function(value)


def test_a_process_is_gone_when_its_block_ends():
    with Confined("def f(): return 1", "f") as function:
        function()
        child = psutil.Process(function.pid)
        directory = Path(child.cwd())
    assert not child.is_running()
    assert not directory.exists()


def test_source_that_is_too_long_does_not_start_a_process():
    with pytest.raises(CodeError, match="longer"):
        Confined("#" * 30_000, "f")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's means are Linux's")
@pytest.mark.parametrize(
    "act", ["os.fork()", "open(FILE, 'a').write('x')", "open('/dev/shm/figa', 'w').write('x')"]
)
def test_the_kernel_refuses_it_too_when_nothing_watches(act, tmp_path):
    """Without the audit hook, as if the code had got around it."""
    file = tmp_path / "file"
    file.touch()
    script = f"""
        import os, runpy
        confined = runpy.run_path({confined.__file__!r})
        confined["confine"](2**29, 5)
        FILE = {str(file)!r}
        try:
            {act}
        except OSError:
            print("refused")
    """
    command = [sys.executable, "-I", "-S", "-B", "-c", textwrap.dedent(script)]
    assert subprocess.run(command, capture_output=True, text=True, env={}, check=False).stdout == "refused\n"
    assert file.read_text() == ""
