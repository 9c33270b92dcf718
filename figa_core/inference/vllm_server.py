"""Runs in vLLM's environment: vLLM's own server, none of whose processes outlives the one that started it.

    python -m figa_core.inference.vllm_server OPTIONS      (those of `vllm serve`)

The server starts an engine in a process of its own, and that one a process for each further GPU. Whichever
way multiprocessing starts them (a fork, or a new interpreter that imports this module again), each asks the
kernel to be killed with its parent. `served.py` and `figa serve-model` start it.
"""

import os

from figa_core.processes.children import PARENT_PID_VARIABLE, die_with_parent


def _bind() -> None:
    """Tie this process to its parent, if that asked for it, and the children of this process to it."""
    if PARENT_PID_VARIABLE in os.environ:
        die_with_parent()
    os.environ[PARENT_PID_VARIABLE] = str(os.getpid())


_bind()
os.register_at_fork(after_in_child=_bind)

if __name__ == "__main__":
    from figa_core.processes.tell import tell_troubles

    tell_troubles()
    from vllm.entrypoints.launchers.api_server.entry import main

    main()
