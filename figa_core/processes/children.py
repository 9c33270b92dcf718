"""Child processes never outlive the run that started them.

Every long-lived child (vLLM worker, torchrun and its ranks, Prefect server, teacher) first calls
`die_with_parent`. On Linux the kernel then kills it when its parent ends, in whatever way; elsewhere a thread
watches the parent's pid. The child calls it itself, because `preexec_fn` is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
PARENT_PID_VARIABLE = "FIGA_PARENT_PID"


def die_with_parent() -> None:
    """Let this process be killed when its parent ends, or now if it has already ended.

    The parent's pid comes from FIGA_PARENT_PID, which `child_environment` sets: if the parent died before
    this call, `os.getppid` would be the init process that adopted us.

    On Linux the signal is sent when the *thread* that started the process ends; `child.Child` starts each
    process in a lasting thread.
    """
    expected = int(os.environ.get(PARENT_PID_VARIABLE, os.getppid()))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(expected,), daemon=True).start()
    if os.getppid() != expected:
        os.kill(os.getpid(), signal.SIGKILL)


def child_environment(**extra: str) -> dict[str, str]:
    """This process's environment for a child that will call `die_with_parent`, plus `extra`.

    The child's output goes to a file that is read as UTF-8, whatever this process's terminal supports.
    """
    inherited = {**os.environ, PARENT_PID_VARIABLE: str(os.getpid())}
    return {**inherited, "PYTHONIOENCODING": "utf-8:backslashreplace", **extra}


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGKILL)


def end_leftovers() -> list[str]:
    """Kill our children whose parent is gone; return "name (pid)" of each.

    Usually there are none, because of `die_with_parent`. A child is this user's process with a dead process's
    pid in FIGA_PARENT_PID, so children of other runs are left alone.
    """
    import psutil  # only the start of a run needs it

    ended = []
    for process in psutil.process_iter(["name"]):
        try:
            parent = process.environ().get(PARENT_PID_VARIABLE)
            if parent and parent.isdigit() and not psutil.pid_exists(int(parent)):
                ended.append(f"{process.info['name']} ({process.pid})")
                process.kill()
        except psutil.Error:
            continue
    return ended
