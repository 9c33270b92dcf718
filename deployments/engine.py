"""Runs Prefect's engine for one flow run, in a process that ends with its worker.

    python -m deployments.engine      (the `command` of the deployments in prefect.yaml)

The runs of a killed worker live on, and nothing supervises them. So each run checks four times a second
whether its parent is alive. If not, the run sends itself SIGTERM (Prefect reports it as Crashed, and our
stages store their results), and exits at most `_GRACE_S` later.
"""

import os
import runpy
import signal
import threading
import time
from uuid import UUID

RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
"""Where Prefect's worker says which flow run a process is for."""
_LOOK_EVERY_S = 0.25
_GRACE_S = 25.0


def end_with_parent(parent: int, *, grace_s: float = _GRACE_S) -> None:
    """End this process, gently at first, as soon as `parent` is no longer its parent."""
    threading.Thread(target=_watch, args=(parent, grace_s), daemon=True, name="parent-watch").start()


def _watch(parent: int, grace_s: float) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    _write_nowhere()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os._exit(128 + signal.SIGTERM)


def _write_nowhere() -> None:
    """The worker was reading this process's output. Prefect logs with `rich`, which exits the process at a
    broken pipe, before the end of the run is reported.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)


if __name__ == "__main__":
    end_with_parent(os.getppid())
    from deployments.alive import go_on_without_a_slot, stay_alive  # importing Prefect takes seconds
    from deployments.termination import stop_gently

    stop_gently()
    go_on_without_a_slot()
    stay_alive(UUID(os.environ[RUN_VARIABLE]))
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
