"""The deployments of `check-worker`, one for each pool: `figa doctor` asks a worker of each through them."""

from pathlib import Path

from prefect.client.orchestration import PrefectClient

from deployments.pools import Pool
from flows.check_worker import check_worker

ROOT = Path(__file__).resolve().parent.parent


async def deploy_worker_checks(client: PrefectClient, image: str | None = None) -> None:
    """Create or replace them; nobody has anything to set in them. `image`: that of Jobs on Kubernetes."""
    flow_id = await client.create_flow_from_name(check_worker.name)
    for pool in Pool:
        await client.create_deployment(
            flow_id,
            name=pool,
            description="For `figa doctor`: what a worker of this pool has, and whether it sees a workspace.",
            entrypoint="flows/check_worker.py:check_worker",
            path=str(ROOT),
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            parameter_openapi_schema=check_worker.parameters.model_dump_for_openapi(),
            enforce_parameter_schema=True,
            work_pool_name=pool,
            work_queue_name="default",
            job_variables={} if image is None else {"image": image},
            tags=["figa", "doctor"],
        )
