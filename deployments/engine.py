"""What a process worker starts for each flow run: Prefect's engine, in a process that ends with its worker.

    python -m deployments.engine      (the `command` of the deployments in prefect.yaml)

A worker that is killed leaves its runs behind, and nobody would watch over them any more: here each looks
for its parent four times a second, and once that is gone asks itself to end (SIGTERM, on which Prefect
reports the run as Crashed and our stages store what they have), and does so for good `_GRACE_S` later.
"""

import os
import runpy
import signal
import threading
import time

_LOOK_EVERY_S = 0.25
_GRACE_S = 25.0
_TERMINATED = 128 + signal.SIGTERM


def end_with_parent(parent: int, *, grace_s: float = _GRACE_S) -> None:
    """From now on end this process, first gently, when `parent` is not its parent any more."""
    threading.Thread(target=_watch, args=(parent, grace_s), daemon=True, name="parent-watch").start()


def _watch(parent: int, grace_s: float) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    _write_nowhere()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os._exit(_TERMINATED)


def _write_nowhere() -> None:
    """The worker read what this process wrote. `rich`, by which Prefect logs, exits at a broken pipe,
    before the end has been reported.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


if __name__ == "__main__":
    end_with_parent(os.getppid())
    from deployments.termination import stop_gently  # Prefect takes seconds to import, unwatched above

    stop_gently()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
