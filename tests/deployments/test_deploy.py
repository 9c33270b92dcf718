"""What the deploy command creates on a server, what it leaves unchanged, and its errors."""

import asyncio
import copy
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import EventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled

from deployments import worker
from deployments.automations import DEAD_RUNS, RUNS_NOT_BEGUN, TRAIN_ON_NEW_DATASET, runs_not_begun
from deployments.deploy import deploy, main
from deployments.pools import Pool, PoolType, create_pool, job_template
from figa_core.errors import ConfigError, FigaError
from figa_core.inference.devices import gpus_here
from figa_core.processes.children import child_environment
from flows.progress import Lines, showing
from flows.server import elsewhere
from flows.server.elsewhere import run_elsewhere
from flows.server.names import CHECK_WORKER, CODE_VARIABLE, FLOWS, TRAIN_MODEL, VERSION_VARIABLE, worker_name
from flows.server.process import PrefectServer
from flows.server.versions import own_code, own_version
from flows.server.workers import worker_variable

NOBODY = "http://127.0.0.1:9/api"
NEW_DEFAULT = {"workspace": "/somewhere/else"}


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A separate server: where `train-model` is deployed, runs of other tests would wait for a worker."""
    with PrefectServer(tmp_path_factory.mktemp("prefect")) as running:
        running.wait()
        yield running


@pytest.fixture
def no_prefect() -> Iterator[str]:
    """A web server that is not a Prefect server."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
async def test_deploying_twice_keeps_what_people_chose(prefect_api: str) -> None:
    first = await deploy()
    assert {f"deployment {name}/{name}: created" for name in FLOWS} <= set(first)
    async with get_client() as client:
        name = "retry-revisions/retry-revisions"
        deployment = await client.read_deployment_by_name(name)
        await client.update_deployment(deployment.id, DeploymentUpdate(parameters=NEW_DEFAULT, paused=True))
        figa = await client.read_deployment_by_name("figa/figa")
        assert [each.active for each in figa.schedules] == [False]
        # As in the UI: the nightly schedule is switched on, and another one without a slug is added.
        await client.update_deployment_schedule(figa.id, figa.schedules[0].id, active=True)
        await client.create_deployment_schedules(figa.id, [(CronSchedule(cron="0 5 * * 1"), True)])
        [rule] = await client.read_automations_by_name(DEAD_RUNS)
        await client.pause_automation(rule.id)

        second = await deploy()

        assert f"deployment {name}: updated; its parameters and schedules are unchanged" in second
        after = await client.read_deployment_by_name(name)
        assert (after.id, after.parameters, after.paused) == (deployment.id, NEW_DEFAULT, True)
        schedules = (await client.read_deployment_by_name("figa/figa")).schedules
        assert {(each.slug, each.active) for each in schedules} == {("nightly", True), (None, True)}
        rules = {rule.name: rule.enabled for rule in await client.read_automations()}
        assert rules == {DEAD_RUNS: False, RUNS_NOT_BEGUN: True, TRAIN_ON_NEW_DATASET: False}
        assert (await client.read_work_pool(Pool.GPU)).concurrency_limit == 1

        await deploy(reset=True)

        assert (await client.read_deployment_by_name(name)).parameters != NEW_DEFAULT
        schedules = (await client.read_deployment_by_name("figa/figa")).schedules
        assert [(each.slug, each.active) for each in schedules] == [("nightly", False)]
        assert all(
            rule.enabled != (rule.name == TRAIN_ON_NEW_DATASET) for rule in await client.read_automations()
        )


async def test_a_missing_deployment_or_pool_is_named_with_the_command_that_creates_it(
    prefect_api: str,
) -> None:
    quiet = Lines(lambda line: None)
    with (
        showing(quiet),
        pytest.raises(ConfigError, match=r"(?s)no deployment 'a/b'.*deployments\.deploy"),
    ):
        await run_elsewhere("a/b", "name", {}, pool="gpu")
    await deploy()
    async with get_client() as client:
        await client.delete_work_pool(Pool.GPU)
    with showing(quiet), pytest.raises(ConfigError, match=r"work pool.*deployments\.deploy"):
        await run_elsewhere(TRAIN_MODEL, "name", {"shards": "s", "model": "m"}, pool="gpu")
    with pytest.raises(ConfigError, match=r"no work pool 'gpu'.*deployments\.deploy"):
        await worker.check(Pool.GPU)
    await deploy()
    await worker.check(Pool.GPU)


async def test_a_pool_without_workers_is_named_after_a_minute_with_the_command_that_starts_one(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert elsewhere._WARN_AFTER_S == 60
    monkeypatch.setattr(elsewhere, "_WARN_AFTER_S", 0.1)
    monkeypatch.setattr(elsewhere, "_POLL_S", 0.1)
    await deploy()
    said = asyncio.Queue[str]()
    with showing(Lines(said.put_nowait)):
        parameters = {"shards": "s", "model": "m"}
        run = asyncio.create_task(run_elsewhere(TRAIN_MODEL, "a training", parameters, pool="gpu"))
        assert "'a training' on the pool 'gpu'" in await said.get()
        waits = await said.get()
        async with get_client() as client:
            named = FlowRunFilter(name=FlowRunFilterName(any_=["a training"]))
            [waiting] = await client.read_flow_runs(flow_run_filter=named)
            await client.set_flow_run_state(waiting.id, Cancelled(), force=True)
        with pytest.raises(FigaError, match="Cancelled"):
            await run
    assert waits.startswith("'a training' has not begun: the pool 'gpu' has no worker that is online.")
    assert "`python -m deployments.worker gpu`" in waits


def test_a_job_that_waits_for_a_node_is_not_taken_for_a_run_that_never_began() -> None:
    trigger = runs_not_begun().trigger
    assert isinstance(trigger, EventTrigger)
    assert "prefect.flow-run.InfrastructurePending" in trigger.expect
    assert trigger.after == {"prefect.flow-run.Pending", "prefect.flow-run.Submitting"}


async def test_a_pool_of_jobs_has_no_limit_and_keeps_its_template_until_a_reset(prefect_api: str) -> None:
    async with get_client() as client:
        with suppress(ObjectNotFound):
            await client.delete_work_pool(Pool.GPU)
        try:
            assert await create_pool(client, Pool.GPU, PoolType.KUBERNETES)
            assert (await client.read_work_pool(Pool.GPU)).concurrency_limit is None
            template = job_template(Pool.GPU, PoolType.KUBERNETES)
            changed = copy.deepcopy(template)
            changed["variables"]["properties"]["memory"]["default"] = "8Gi"
            await client.update_work_pool(Pool.GPU, WorkPoolUpdate(base_job_template=changed))
            assert not await create_pool(client, Pool.GPU, PoolType.KUBERNETES)
            assert (await client.read_work_pool(Pool.GPU)).base_job_template == changed
            assert not await create_pool(client, Pool.GPU, PoolType.KUBERNETES, reset=True)
            assert (await client.read_work_pool(Pool.GPU)).base_job_template == template
            with pytest.raises(ConfigError, match=r"has type 'kubernetes', not 'process'"):
                await create_pool(client, Pool.GPU)
        finally:
            await client.delete_work_pool(Pool.GPU)


async def test_the_deployments_and_a_worker_tell_their_version_and_a_check_is_there_for_each_pool(
    prefect_api: str,
) -> None:
    await deploy()
    await worker.check(Pool.CPU)
    async with get_client() as client:
        for name in (VERSION_VARIABLE, worker_variable(worker_name(Pool.CPU))):
            found = await client.read_variable_by_name(name)
            assert found is not None
            assert found.value == own_version()
        code = await client.read_variable_by_name(CODE_VARIABLE)
        assert code is not None
        assert code.value == own_code()
        gpus = await client.read_variable_by_name(worker_variable(worker_name(Pool.CPU), "gpus"))
        assert gpus is not None
        assert gpus.value == str(gpus_here())
        for pool in Pool:
            check = await client.read_deployment_by_name(f"{CHECK_WORKER}/{pool}")
            assert check.work_pool_name == pool
    for pool in Pool:
        told = [line for line in worker.notes(pool) if line.startswith("no GPU is seen here: trainings")]
        assert len(told) == (pool is Pool.GPU and gpus_here() == 0)


@pytest.mark.slow
async def test_for_kubernetes_the_pools_have_their_type_and_every_deployment_its_image(
    prefect_api: str,
) -> None:
    await deploy()
    async with get_client() as client:
        try:
            with pytest.raises(ConfigError, match=r"has type 'process', not 'kubernetes'"):
                await deploy(image="figa:1")
            for pool in Pool:
                await client.delete_work_pool(pool)
            await deploy(image="figa:1")
            names = [*(f"{name}/{name}" for name in FLOWS), *(f"{CHECK_WORKER}/{pool}" for pool in Pool)]
            for pool in Pool:
                assert (await client.read_work_pool(pool)).type == "kubernetes"
            for name in names:
                found = await client.read_deployment_by_name(name)
                assert found.job_variables["image"] == "figa:1", name
                assert found.work_pool_name in set(Pool)
            figa = await client.read_deployment_by_name("figa/figa")
            assert figa.job_variables["command"] == "python -m deployments.engine"
        finally:  # other tests use the server
            for pool in Pool:
                await client.delete_work_pool(pool)
            await deploy()


@pytest.mark.parametrize("command", ["deployments.deploy", "deployments.worker"])
def test_a_wrong_address_is_named_with_what_to_do(command: str) -> None:
    arguments = ["cpu"] if command == "deployments.worker" else []
    done = subprocess.run(
        [sys.executable, "-m", command, *arguments],
        env=child_environment(PREFECT_API_URL=NOBODY, PREFECT_CLIENT_MAX_RETRIES="0"),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert f"PREFECT_API_URL = {NOBODY}" in done.stderr
    assert "make serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_prefect_is_told_from_one_that_is_down(
    no_prefect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with temporary_settings({PREFECT_API_URL: no_prefect}):
        assert main([]) == 1
    assert "is no Prefect API" in capsys.readouterr().err


def test_a_missing_address_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert main([]) == 1
    assert "PREFECT_API_URL is not set" in capsys.readouterr().err
