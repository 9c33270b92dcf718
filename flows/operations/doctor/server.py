"""The Prefect server: its version and clock, the deployments, pools, workers and limits on it."""

import asyncio
import socket
import time
from collections.abc import Iterable, Iterator, Mapping

from prefect import __version__ as prefect_version
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import Worker
from prefect.exceptions import ObjectNotFound

from figa_core.inference.devices import gpus_here
from flows.operations.doctor.lines import Line, ok, problem, warning
from flows.server.api import check_answers, configured_url
from flows.server.clocks import CLOCK_S, clock_text, difference_s
from flows.server.names import API_URL_VARIABLE, CODE_VARIABLE, CPU_POOL, FLOWS, GPU_POOL, VERSION_VARIABLE
from flows.server.versions import another_version, other_code, own_code, own_version
from flows.server.workers import no_worker_text, online_workers, worker_variable

_DEPLOY = "`python -m deployments.deploy` (`make serve` runs it too)"
_LIMITS_READ = 200


def server_lines() -> list[Line]:
    """Everything about the configured server. Raises ConfigError if none answers there."""
    url = configured_url()
    if url is None:
        return [ok("Prefect", f"{API_URL_VARIABLE} is not set: every run starts a server of its own")]
    check_answers(url, "Start it, or correct the address.")
    return asyncio.run(_lines(url))


async def _lines(url: str) -> list[Line]:
    async with get_client() as client:
        lines = [*(await _versions(client, url)), await _clock(client)]
        lines += await _deployments(client)
        for pool in (CPU_POOL, GPU_POOL):
            lines += await _pool(client, pool)
        return [*lines, await _limits(client)]


async def _versions(client: PrefectClient, url: str) -> Iterable[Line]:
    server, own = await client.api_version(), own_version()
    same = ok if server == prefect_version else warning
    text = f"{url} has Prefect {server}" + (
        "" if server == prefect_version else f", here is {prefect_version}"
    )
    deployed = await _variable(client, VERSION_VARIABLE)
    if deployed in (None, own):
        code = await _variable(client, CODE_VARIABLE)
        if code in (None, own_code()):
            return [same("Prefect", text)]
        return [same("Prefect", text), warning("code", other_code(own_code(), code, socket.gethostname()))]
    return [same("Prefect", text), problem("version", another_version(own, deployed, socket.gethostname()))]


async def _clock(client: PrefectClient) -> Line:
    asked_at = time.time()
    response = await client.request("GET", "/health")
    ahead_s = difference_s(response.headers.get("date"), asked_at, time.time())
    return clock_line("the server's clock", ahead_s)


def clock_line(about: str, ahead_s: float) -> Line:
    """A clock that is ahead of the one here by so many seconds (behind it, if negative)."""
    if abs(ahead_s) <= CLOCK_S:
        return ok(about, "agrees with the one here")
    return problem(about, clock_text(ahead_s))


async def _deployments(client: PrefectClient) -> Iterable[Line]:
    missing = []
    for name in FLOWS:
        try:
            await client.read_deployment_by_name(f"{name}/{name}")
        except ObjectNotFound:
            missing.append(name)
    if not missing:
        return [ok("deployments", f"all {len(FLOWS)} are there")]
    return [problem("deployments", f"{', '.join(missing)} missing. Create them with {_DEPLOY}")]


async def _pool(client: PrefectClient, name: str) -> list[Line]:
    about = f"pool {name}"
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return [problem(about, f"does not exist. Create it with {_DEPLOY}")]
    most = "any number of runs" if pool.concurrency_limit is None else f"{pool.concurrency_limit} run(s)"
    lines = [ok(about, f"type {pool.type}, {most} at once")]
    if pool.is_paused:
        lines.append(
            problem(about, f"is paused, so its runs wait. Resume it: prefect work-pool resume {name}")
        )
    workers = await online_workers(client, name)
    if not workers:
        return [*lines, problem(about, no_worker_text(name, pool.type))]
    versions = {each.name: await _variable(client, worker_variable(each.name)) for each in workers}
    lines += [worker_line(each, versions[each.name]) for each in workers]
    if name != GPU_POOL:
        return lines
    gpus = {each.name: await _variable(client, worker_variable(each.name, "gpus")) for each in workers}
    return [*lines, *gpu_lines(gpus, gpus_here())]


def gpu_lines(stated: Mapping[str, str | None], here: int) -> Iterator[Line]:
    """The workers of the pool for GPUs that see none, if others or this machine (`here`: how many) do.

    `stated`: by a worker's name, how many it said it sees; None if it said nothing.
    """
    if here or any(count not in (None, "0") for count in stated.values()):
        yield from (no_gpu(f"worker {name}") for name, count in stated.items() if count == "0")


def no_gpu(about: str) -> Line:
    """A worker of the pool for GPUs that sees none, although there are machines with some."""
    return warning(
        about,
        "sees no GPU, and other machines do: runs that it takes use the CPU, and may take days. Look at its "
        "driver, its container's devices and CUDA_VISIBLE_DEVICES, or stop it.",
    )


def worker_line(worker: Worker, version: str | None) -> Line:
    """A worker that is online, and the version with which it was started (None if it did not say)."""
    about, own = f"worker {worker.name}", own_version()
    if version is None:
        return warning(about, "is online; its version is unknown, because another command started it")
    if version != own:
        return problem(
            about, f"was started with figa {version}, here is {own}. Update it and start it again."
        )
    return ok(about, f"is online, with figa {version}")


async def _limits(client: PrefectClient) -> Line:
    found = await client.read_global_concurrency_limits(limit=_LIMITS_READ)
    named = [f"{each.name} ({each.limit:,}{'' if each.active else ', switched off'})" for each in found]
    return ok("shared limits", ", ".join(named) or "none (python -m deployments.limits makes them)")


async def _variable(client: PrefectClient, name: str) -> str | None:
    found = await client.read_variable_by_name(name)
    return None if found is None else str(found.value)
