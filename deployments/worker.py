"""A worker on one of the two pools: Prefect's process worker, in the environment that our runs need.

    python -m deployments.worker cpu
    python -m deployments.worker gpu

`make serve` starts one of each. On a machine with a GPU start one more on `gpu`; it needs PREFECT_API_URL
and sees the workspaces under the same paths. What the runs need (the reviser's key, FIGA_VLLM_PYTHON,
CUDA_VISIBLE_DEVICES) they take from the worker's environment.
"""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.pools import Pool, check_pool
from deployments.server import check_answers, configured_client
from figa_core.errors import FigaError
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.processes.children import PARENT_PID_VARIABLE, die_with_parent


async def check(pool: Pool) -> None:
    """Raises ConfigError, with what creates the pool, if it is missing or the server does not answer."""
    async with configured_client() as client:
        await check_answers(client)
        await check_pool(client, pool)


def worker_command(pool: Pool) -> list[str]:
    """Prefect's worker; one run at a time on a GPU."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", pool]
    name = f"figa-{pool}-{socket.gethostname()}"
    return [*command, "--name", name, *(["--limit", "1"] if pool is Pool.GPU else [])]


def prepare_environment() -> None:
    """Make this process's environment that of a worker: its runs use this interpreter and die with it."""
    binaries = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    # A run watches its parent itself (deployments/engine.py); with this variable it would be ended as a
    # leftover while it still stores what it has.
    os.environ.pop(PARENT_PID_VARIABLE, None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Become the worker; 1 on failure."""
    if PARENT_PID_VARIABLE in os.environ:
        die_with_parent()  # started by `make serve`
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description="A worker on one pool.")
    parser.add_argument("pool", choices=[str(pool) for pool in Pool])
    pool = Pool(parser.parse_args(arguments).pool)
    try:
        asyncio.run(check(pool))
        if find_vllm_python() is None:
            print(
                'vLLM is not installed for this worker: runs with engine = "auto" use transformers, those '
                'with "vllm" end with an error. `make setup` installs it; FIGA_VLLM_PYTHON names another '
                "interpreter."
            )
    except FigaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    prepare_environment()
    sys.stdout.flush()
    os.execv(sys.executable, worker_command(pool))


if __name__ == "__main__":
    sys.exit(main())
