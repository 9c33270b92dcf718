"""Create or update everything on the Prefect server: pools, deployments, automations.

    python -m deployments.deploy            (with PREFECT_API_URL set; `make serve` runs it too)
    python -m deployments.deploy --reset

What people may have changed in the UI (default parameters, schedules, a pause, limits, tags,
automations switched on or off, the job templates of pools) is kept; --reset restores the files' values and
recreates the automations.
"""

import argparse
import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from deployments.automations import create_automations
from deployments.pools import Pool, PoolType, create_pool
from deployments.server import require_server
from deployments.worker_checks import deploy_worker_checks
from figa_core.errors import ConfigError, FigaError
from flows.server.names import API_URL_VARIABLE, CODE_VARIABLE, VERSION_VARIABLE
from flows.server.versions import own_code, own_version, save_variable

FILE = Path(__file__).resolve().parent / "prefect.yaml"
ROOT = FILE.parent.parent


async def deploy(*, reset: bool = False, image: str | None = None) -> list[str]:
    """Create or update everything; returns a line about each. Raises ConfigError if the server refuses.

    `image`: run on Kubernetes, in Jobs with this image, instead of in processes of the workers' machines.
    """
    kind = PoolType.PROCESS if image is None else PoolType.KUBERNETES
    api_url, lines = require_server(), list[str]()
    definitions = {each["name"]: each for each in yaml.safe_load(FILE.read_text("utf-8"))["deployments"]}
    async with get_client() as client:
        for pool in Pool:
            created = await create_pool(client, pool, kind, reset=reset)
            lines.append(f"work pool {pool}: {'created' if created else 'exists'}")
        existing = {name: await _read(client, f"{name}/{name}") for name in definitions}
        new = [name for name, deployment in existing.items() if deployment is None or reset]
        if new:
            _prefect_deploy(api_url, new)
        for name, deployment in existing.items():
            now = await _read(client, f"{name}/{name}")
            if now is not None and (image is not None or (deployment is not None and not reset)):
                await _update(client, now, definitions[name], image)
            lines.append(f"deployment {name}/{name}: {_what_was_done(deployment, reset)}")
        await deploy_worker_checks(client, image)
        automations = await create_automations(client, reset=reset)
        lines += [f"automation {name!r}: created" for name in automations]
        await save_variable(client, VERSION_VARIABLE, own_version())
        await save_variable(client, CODE_VARIABLE, own_code())
    return lines


async def _read(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


async def _update(
    client: PrefectClient, existing: DeploymentResponse, definition: dict[str, Any], image: str | None
) -> None:
    """Update what the code defines in a deployment. `prefect deploy` would also undo its users' changes."""
    pool = definition["work_pool"]
    pull = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    try:
        await client.update_deployment(
            existing.id,
            DeploymentUpdate(
                description=definition["description"],
                entrypoint=definition["entrypoint"],
                path=str(ROOT),
                pull_steps=[pull],
                parameter_openapi_schema=_schema(definition["entrypoint"]),
                enforce_parameter_schema=definition["enforce_parameter_schema"],
                work_pool_name=pool["name"],
                work_queue_name=pool["work_queue_name"],
                job_variables={**pool["job_variables"], **({} if image is None else {"image": image})},
            ),
        )
    except httpx.HTTPStatusError as error:
        raise ConfigError(
            f"the Prefect server refuses the deployment {existing.name!r}: {error}. "
            "`python -m deployments.deploy --reset` restores the parameters and schedules of the file."
        ) from error


def _schema(entrypoint: str) -> dict[str, Any]:
    path, _, name = entrypoint.partition(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    return flow.parameters.model_dump_for_openapi()


def _prefect_deploy(api_url: str, names: Sequence[str]) -> None:
    """Run `prefect deploy` for these deployments; raises ConfigError with its output if it fails."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", str(FILE)]
    for name in names:
        command += ["--name", name]
    environment = {**os.environ, API_URL_VARIABLE: api_url}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise ConfigError(f"{FILE}: `prefect deploy` refuses it. Its last lines:\n{output}")


def _what_was_done(existing: DeploymentResponse | None, reset: bool) -> str:
    if existing is None:
        return "created"
    return "reset to the file" if reset else "updated; its parameters and schedules are unchanged"


def main(arguments: Sequence[str] | None = None) -> int:
    """Deploy, and print what was done; 1 if it failed."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.deploy", description="Pools, deployments and automations."
    )
    parser.add_argument(
        "--reset",
        action="store_true",
        help="also restore parameters, schedules and job templates of the files",
    )
    parser.add_argument(
        "--kubernetes",
        metavar="IMAGE",
        help="make the pools of type kubernetes, whose runs are Jobs with this image; see deployments/k8s",
    )
    options = parser.parse_args(arguments)
    try:
        lines = asyncio.run(deploy(reset=options.reset, image=options.kubernetes))
    except FigaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
