"""Child processes never outlive the run that started them.

Every long-lived child of ours (vLLM worker, torchrun and its ranks, Prefect server, teacher) calls
`die_with_parent` first thing. On Linux the kernel then kills it when its parent ends, however the parent
ends; elsewhere a thread watches the parent's pid. This is done in the child, not by a `preexec_fn`,
which is unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_WATCH_INTERVAL_S = 1.0
PARENT_PID_VARIABLE = "FIGA_PARENT_PID"


def die_with_parent(sent_signal: signal.Signals = signal.SIGKILL) -> None:
    """Arrange that this process gets `sent_signal` when its parent ends; exit now if it has ended already.

    The parent's pid is read from FIGA_PARENT_PID, where the starter puts it: without it, a parent that died
    before this call could not be told from the init process that adopted us.

    On Linux the signal follows the *thread* that started the process; `child.Child` starts each in a thread
    that stays.
    """
    expected = int(os.environ.get(PARENT_PID_VARIABLE, os.getppid()))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sent_signal), 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(expected, sent_signal), daemon=True).start()
    if os.getppid() != expected:
        os.kill(os.getpid(), sent_signal)


def child_environment(**extra: str) -> dict[str, str]:
    """This process's environment for a child that will call `die_with_parent`, plus `extra`.

    What the child prints goes to a file that is read as UTF-8, whatever a terminal here may show.
    """
    inherited = {**os.environ, PARENT_PID_VARIABLE: str(os.getpid())}
    return {**inherited, "PYTHONIOENCODING": "utf-8:backslashreplace", **extra}


def _watch(parent: int, sent_signal: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_INTERVAL_S)
    os.kill(os.getpid(), sent_signal)


def end_leftovers() -> list[str]:
    """Kill children of ours whose parent is gone; returns "name (pid)" of each.

    There are none where `die_with_parent` could do its work. It looks at this user's processes that carry
    FIGA_PARENT_PID with the pid of no living process, so children of other runs are left alone.
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
