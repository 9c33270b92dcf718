"""A worker on one of the two pools: Prefect's process worker, in the environment that runs need.

    python -m deployments.worker cpu
    python -m deployments.worker gpu

`make serve` starts one of each. On another machine with a GPU, start one more on `gpu` with PREFECT_API_URL
set; the workspaces must have the same paths there. Runs inherit the worker's environment (the reviser's key,
FIGA_VLLM_PYTHON, CUDA_VISIBLE_DEVICES).
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefect.client.orchestration import get_client

from deployments.pools import Pool, check_pool
from deployments.server import require_server
from figa_core.errors import FigaError
from figa_core.inference.devices import gpus_here
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.processes.children import PARENT_PID_VARIABLE, die_with_parent
from flows.server.clocks import check_clock
from flows.server.names import worker_name
from flows.server.versions import about_code, own_version, save_variable
from flows.server.workers import worker_variable

PATIENCE = {
    # A Prefect server whose PostgreSQL or Redis is away answers 500, which Prefect's client does not repeat.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    # After 2, 4, 8 ... seconds: four minutes instead of one, for a database or network that comes back.
    "PREFECT_CLIENT_MAX_RETRIES": "7",
}
"""Settings of workers, which their runs inherit; deployments/k8s/worker-values.yaml has them, too."""


async def check(pool: Pool) -> None:
    """Tell the server this worker's version and how many GPUs it sees, which `figa doctor` shows.

    Raises ConfigError if the server does not answer, its clock differs from the one here, or the pool is
    missing.
    """
    require_server()
    check_clock()
    async with get_client() as client:
        await check_pool(client, pool)
        name = worker_name(pool)
        await save_variable(client, worker_variable(name), own_version())
        await save_variable(client, worker_variable(name, "gpus"), str(gpus_here()))


def notes(pool: Pool) -> Iterator[str]:
    """Lines about what is missing here or differs, with which this worker can work nevertheless."""
    if (line := about_code()) is not None:
        yield f"warning: {line}"
    if pool is Pool.GPU and not gpus_here():
        yield (
            "no GPU is seen here: trainings and other runs of this pool run on the CPU. If this machine has "
            "one, look at its driver, its container's devices and CUDA_VISIBLE_DEVICES."
        )
    if find_vllm_python() is None:
        yield (
            'vLLM is not installed for this worker: runs with engine = "auto" use transformers, and runs '
            'with "vllm" end with an error. `make setup` installs it; or set FIGA_VLLM_PYTHON to an '
            "interpreter that has it."
        )


def _worker_command(pool: Pool) -> list[str]:
    """Prefect's worker; one run at a time on a GPU."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", pool]
    return [*command, "--name", worker_name(pool), *(["--limit", "1"] if pool is Pool.GPU else [])]


def _prepare_environment() -> None:
    """Set what the worker and its runs need: this interpreter, and patience with the server."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    binaries = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)])
    # A run watches its parent itself (deployments/engine.py); with this variable it would be killed as a
    # leftover process while it still stores its results.
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
        for line in notes(pool):
            print(line)
    except FigaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _prepare_environment()
    sys.stdout.flush()
    os.execv(sys.executable, _worker_command(pool))


if __name__ == "__main__":
    sys.exit(main())
