"""The two work pools: `cpu` for runs, `gpu` for what needs a GPU to itself."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from figa_core.errors import ConfigError
from flows.server.names import CPU_POOL, GPU_POOL


class Pool(StrEnum):
    """A work pool's name; `deployments/prefect.yaml` says which deployment runs where."""

    CPU = CPU_POOL
    GPU = GPU_POOL


class PoolType(StrEnum):
    """What a worker makes of a run: a process on its machine, or a Job of Kubernetes."""

    PROCESS = "process"
    KUBERNETES = "kubernetes"


_KUBERNETES = Path(__file__).resolve().parent / "k8s"
_ONE_AT_A_TIME = (Pool.GPU, PoolType.PROCESS)
_DESCRIPTIONS = {
    (Pool.CPU, PoolType.PROCESS): (
        "Runs of figa and their revisions; they start work that needs a GPU on the pool gpu."
    ),
    (Pool.CPU, PoolType.KUBERNETES): (
        "Jobs for runs of figa and their revisions; they start work that needs a GPU on the pool gpu."
    ),
    _ONE_AT_A_TIME: "One run at a time, so that no two share a GPU. With more machines, raise the limit.",
    (Pool.GPU, PoolType.KUBERNETES): "Jobs with GPUs of their own; they wait until a node has some.",
}


async def create_pool(
    client: PrefectClient, pool: Pool, kind: PoolType = PoolType.PROCESS, *, reset: bool = False
) -> bool:
    """Create a pool of this type unless it exists; returns whether it was created.

    `reset`: if it exists, its job template becomes the file's again; otherwise it stays as it is.
    Raises ConfigError if it exists with another type, which a pool keeps.
    """
    try:
        found = await client.read_work_pool(pool)
    except ObjectNotFound:
        await client.create_work_pool(
            WorkPoolCreate(
                name=pool,
                type=kind,
                description=_DESCRIPTIONS[pool, kind],
                concurrency_limit=1 if (pool, kind) == _ONE_AT_A_TIME else None,
                base_job_template=job_template(pool, kind),
            )
        )
        return True
    if found.type != kind:
        raise ConfigError(
            f"the work pool {pool.value!r} on the server at {client.api_url} has type {found.type!r}, not "
            f"{kind.value!r}, and a pool keeps its type. Delete it (prefect work-pool delete {pool.value}), "
            "or deploy for its type (--kubernetes IMAGE for Kubernetes)."
        )
    if reset:
        await client.update_work_pool(pool, WorkPoolUpdate(base_job_template=job_template(pool, kind)))
    return False


def job_template(pool: Pool, kind: PoolType) -> dict[str, Any]:
    """The base job template of a pool: Prefect's for processes, `k8s/pool-*.yaml` for Kubernetes."""
    if kind is PoolType.PROCESS:
        return ProcessWorker.get_default_base_job_template()
    return yaml.safe_load((_KUBERNETES / f"pool-{pool}.yaml").read_text("utf-8"))


async def check_pool(client: PrefectClient, pool: Pool) -> None:
    """Raises ConfigError if the pool does not exist, or its type is not "process"."""
    try:
        found = await client.read_work_pool(pool)
    except ObjectNotFound as error:
        raise ConfigError(
            f"there is no work pool {pool.value!r} on the server at {client.api_url}. Create pools and "
            "deployments with `python -m deployments.deploy` (`make serve` runs it too)."
        ) from error
    if found.type != PoolType.PROCESS:
        raise ConfigError(
            f"the work pool {pool.value!r} on the server at {client.api_url} has type {found.type!r}; this "
            f"worker runs processes. Start a worker of that type: prefect worker start --pool {pool.value}"
        )
