"""Create or update everything that stands on the Prefect server: pools, deployments, automations.

    python -m deployments.deploy            (with PREFECT_API_URL set; `make serve` does it too)
    python -m deployments.deploy --reset

What a person may have changed in the UI since (default parameters, schedules, a pause, the limit, switched
automations) stays as it is; --reset takes the file's again for the deployments.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleUpdate, DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from deployments.automations import create_automations
from deployments.pools import Pool, create_pool
from deployments.server import check_answers, configured_client
from figa_core.errors import ConfigError, FigaError
from flows.server import API_URL_VARIABLE

FILE = Path(__file__).resolve().parent / "prefect.yaml"
ROOT = FILE.parent.parent


def deployment_names(file: Path = FILE) -> list[str]:
    """Each in the file as "flow/deployment"; the two have the same name here."""
    return [f"{each['name']}/{each['name']}" for each in yaml.safe_load(file.read_text())["deployments"]]


async def deploy(*, reset: bool = False) -> list[str]:
    """Create or update all; a line on each says what was done.

    Raises:
        ConfigError: no server is named or answers, or Prefect refuses a deployment.
    """
    lines = []
    async with configured_client() as client:
        await check_answers(client)
        for pool in Pool:
            created = await create_pool(client, pool)
            lines.append(f"work pool {pool}: {'created' if created else 'exists'}")
        before = {name: await _read(client, name) for name in deployment_names()}
        _prefect_deploy(str(client.api_url))
        for name, old in before.items():
            if old is not None and not reset:
                await _restore(client, old)
            lines.append(f"deployment {name}: {_what_was_done(old, reset)}")
        lines += [f"automation {name!r}: created" for name in await create_automations(client)]
    return lines


async def _read(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


async def _restore(client: PrefectClient, old: DeploymentResponse) -> None:
    """Give a deployment back what people decide about it, which deploying it anew overwrote."""
    schedules = [
        DeploymentScheduleUpdate(
            schedule=each.schedule,
            active=each.active,
            max_scheduled_runs=each.max_scheduled_runs,
            parameters=each.parameters,
            slug=each.slug,
        )
        for each in old.schedules
    ]
    limit = old.global_concurrency_limit.limit if old.global_concurrency_limit else None
    await client.update_deployment(
        old.id,
        DeploymentUpdate(
            parameters=old.parameters, paused=old.paused, schedules=schedules, concurrency_limit=limit
        ),
    )


def _prefect_deploy(api_url: str) -> None:
    """`prefect deploy --all`; raises ConfigError with what it says if it fails."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(FILE)]
    environment = {**os.environ, API_URL_VARIABLE: api_url}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise ConfigError(f"{FILE}: `prefect deploy` refuses it. Its last lines:\n{said}")


def _what_was_done(old: DeploymentResponse | None, reset: bool) -> str:
    if old is None:
        return "created"
    return "set to what the file says" if reset else "updated; its parameters and schedules are as they were"


def main(arguments: Sequence[str] | None = None) -> int:
    """Deploy, and print what was done; 1 if that could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.deploy", description="Pools, deployments and automations."
    )
    parser.add_argument("--reset", action="store_true", help="parameters and schedules of the file, too")
    try:
        lines = asyncio.run(deploy(reset=parser.parse_args(arguments).reset))
    except FigaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
