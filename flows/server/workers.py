"""The workers of a pool, as the Prefect server knows them."""

import re

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Worker, WorkerStatus

WAITS_FOR_A_NODE = "InfrastructurePending"
"""The state of a run whose Job Kubernetes has not started."""


async def online_workers(client: PrefectClient, pool: str) -> list[Worker]:
    """The pool's workers with a recent sign of life; none if there is no such pool."""
    found = await client.read_workers_for_work_pool(pool)
    return [worker for worker in found if worker.status == WorkerStatus.ONLINE]


def no_worker_text(pool: str, kind: str = "process") -> str:
    """What is wrong if a pool of this type has no worker that is online, and the command that starts one."""
    if kind != "process":
        command = f"Start one: `prefect worker start --type {kind} --pool {pool}`"
    else:
        command = (
            "Start one on a machine that sees the workspace: "
            f"`python -m deployments.worker {pool}` (`make serve` runs it too)"
        )
    return f"the pool {pool!r} has no worker that is online. {command}"


def no_node_text(run: str) -> str:
    """What is wrong if Kubernetes has not started the Job of a run with this name."""
    return (
        f"{run!r} has not begun: Kubernetes has not started its pod, as when no node has enough free GPUs or "
        "memory. Its log in the UI says why, and so does `kubectl describe pods`"
    )


def worker_variable(worker: str, what: str = "version") -> str:
    """The Prefect variable with what a worker said at its start: its "version" or its "gpus"."""
    return re.sub(r"[^a-z0-9]+", "_", f"figa_{what}_of_{worker}".lower())
