"""Asks a worker of each pool what it has and whether it sees the workspace: `check-worker` runs there."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from figa_core.artifacts.store import Store
from figa_core.errors import WorkspaceError
from figa_core.inference.devices import gpus_here
from flows.check_worker import WorkerFacts
from flows.operations.doctor.lines import Line, ok, problem, warning
from flows.operations.doctor.server import clock_line, no_gpu
from flows.operations.doctor.storage import LITTLE_BYTES, named_store
from flows.server.clocks import CLOCK_S
from flows.server.names import CHECK_WORKER, CPU_POOL, GPU_POOL
from flows.server.versions import own_code, own_version
from flows.server.workers import online_workers

_POLL_S = 0.5


def worker_lines(workspace: Path, wait_s: float, artifacts: str | None) -> list[Line]:
    """What a worker of each pool that has one says of the workspace, within `wait_s` seconds.

    Workers that train need its disk, or its store: the one at the URL `artifacts`, or of the latest run that
    names one. Of a workspace that is not there yet they are not asked whether they see it.

    Raises:
        WorkspaceError: nothing can be written into the workspace or its store here.
        ConfigError: the library for the store is missing here.
    """
    url = artifacts or named_store(workspace)
    with _token_in(workspace) as token, _token_stored(url, token):
        return asyncio.run(_ask_all(workspace, token, url, wait_s))


@contextlib.contextmanager
def _token_stored(url: str | None, token: str) -> Iterator[None]:
    if url is None or not token:
        yield
        return
    store = Store(url)
    store.write(token, token.encode())
    try:
        yield
    finally:
        store.remove([token])


@contextlib.contextmanager
def _token_in(workspace: Path) -> Iterator[str]:
    """Empty if there is no such directory."""
    if not workspace.is_dir():
        yield ""
        return
    token = f".doctor-{secrets.token_hex(8)}"
    path = workspace / token
    try:
        path.write_text(token, encoding="utf-8")
        yield token
    except OSError as error:
        raise WorkspaceError(f"{path}: cannot be written ({error.strerror or error}).") from error
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


async def _ask_all(workspace: Path, token: str, url: str | None, wait_s: float) -> list[Line]:
    async with get_client() as client:
        pools = [pool for pool in (CPU_POOL, GPU_POOL) if await _has_workers(client, pool)]
        stores = {CPU_POOL: None, GPU_POOL: url}  # runs on the first one open the database
        asked = (_ask(client, pool, workspace, token, stores[pool], wait_s) for pool in pools)
        found = await asyncio.gather(*asked)
    return [line for lines in found for line in lines]


async def _has_workers(client: PrefectClient, pool: str) -> bool:
    try:
        return bool(await online_workers(client, pool))
    except ObjectNotFound:
        return False


async def _ask(
    client: PrefectClient, pool: str, workspace: Path, token: str, url: str | None, wait_s: float
) -> list[Line]:
    about, begun = f"a worker on {pool}", time.time()
    try:
        deployment = await client.read_deployment_by_name(f"{CHECK_WORKER}/{pool}")
    except ObjectNotFound:
        return [warning(about, "was not asked. `python -m deployments.deploy` creates what is needed for it")]
    url = url if token else None
    parameters = {"pool": pool, "workspace": str(workspace), "token": token, "artifacts": url}
    run = await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    try:
        ended = await _ended(client, run, wait_s)
    finally:
        await client.delete_flow_run(run.id)  # it says nothing to anybody else
    state = ended.state
    if state is None or not state.is_final():
        return [warning(about, f"has not answered within {wait_s:.0f} s: they are busy. Ask again later.")]
    if not state.is_completed() or not state.message:
        return [problem(about, f"could not run the check ({state.name}): {state.message}")]
    answer = WorkerFacts.from_fields(orjson.loads(state.message))
    place = (url or str(workspace)) if token else None
    lines = list(facts_lines(about, answer, place, begun, time.time()))
    if pool == GPU_POOL and answer.gpus == 0 and gpus_here():
        lines.append(no_gpu(f"{about} ({answer.host})"))
    return lines


async def _ended(client: PrefectClient, run: FlowRun, wait_s: float) -> FlowRun:
    deadline = time.monotonic() + wait_s
    while True:
        found = await client.read_flow_run(run.id)
        if (found.state is not None and found.state.is_final()) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(_POLL_S)


def facts_lines(
    about: str, facts: WorkerFacts, place: str | None, begun: float, ended: float
) -> Iterator[Line]:
    """What is right and wrong with a worker that was asked between `begun` and `ended` of our clock.

    `place`: the workspace's directory, or the URL of its store; None if there is nothing to see yet.
    """
    from flows.checks.room import size_text  # torch's sizes, which take a second to import

    own, where = own_version(), f"{about} ({facts.host})"
    if facts.version != own:
        yield problem(where, f"runs figa {facts.version}, here is {own}. Update it and start it again.")
    elif facts.code not in (None, own_code()):
        yield warning(where, f"has other code of figa {own} than is here: another commit, or edited.")
    if place is None:
        yield ok(where, "answers; it was not asked for the workspace, which is not there yet")
    elif facts.trouble:
        yield problem(where, facts.trouble)
    elif not facts.sees:
        yield problem(
            where,
            f"does not see {place} as it is here. Put workspaces on a file system that all machines "
            "mount at the same path, or name a store that all reach (storage.artifacts).",
        )
    elif not facts.writes:
        yield problem(where, f"cannot write to {place}. Correct the permissions there, or the mount.")
    else:
        text = f"sees {place} and writes to it, {size_text(facts.free)} free"
        little = facts.free < LITTLE_BYTES
        yield warning(where, f"{text}, which is little") if little else ok(where, text)
    behind, ahead = begun - facts.clock, facts.clock - ended
    if max(behind, ahead) > CLOCK_S:
        yield clock_line(f"the clock of {facts.host}", ahead if ahead > 0 else -behind)
