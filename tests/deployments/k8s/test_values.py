"""The values for Prefect's Helm charts: the server is that of the compose file, workers wait as others do."""

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from deployments.pools import Pool, PoolType
from deployments.worker import PATIENCE
from flows.server.databases import on_redis
from tests.deployments.k8s.files import FOLDER, check, values

ROOT = FOLDER.parents[1]
CHARTS = ROOT / "build" / "charts"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
BY_DATABASE = "PREFECT_API_DATABASE_CONNECTION_URL"
BY_CHART = {
    BY_DATABASE,
    "PREFECT_API_DATABASE_MIGRATE_ON_START",
    "PREFECT_MESSAGING_BROKER",
    "PREFECT_MESSAGING_CACHE",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_UI_API_URL",
}
"""What the chart sets from other values than `env`; a second time, Helm 4 would refuse it."""


def by_name(environment: list[dict[str, Any]]) -> dict[str, Any]:
    names = [each["name"] for each in environment]
    assert len(names) == len(set(names)), "Helm 4 refuses a name that is there twice"
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in environment}


def test_the_server_has_the_settings_of_the_compose_file() -> None:
    ours = by_name(values("server-values.yaml")["global"]["prefect"]["env"])
    theirs = COMPOSE["server"]["environment"]
    assert ours.keys().isdisjoint(BY_CHART)
    assert ours.keys() | BY_CHART == theirs.keys()
    assert on_redis("").keys() <= theirs.keys()
    for name, value in ours.items():
        if isinstance(value, dict):
            assert theirs[name] == "redis://redis:6379/0", name
            assert value == {"secretKeyRef": {"name": "figa-redis", "key": "url"}}, name
        else:
            assert value == theirs[name], name


def test_the_api_has_several_processes_and_the_background_services_are_apart() -> None:
    given = values("server-values.yaml")
    assert given["server"]["replicaCount"] > 1
    assert given["backgroundServices"]["runAsSeparateDeployment"] is True
    assert given["postgresql"] == given["redis"] == {"enabled": False}


def test_a_worker_is_as_patient_as_others_and_so_are_its_runs() -> None:
    given = values("worker-values.yaml")["worker"]
    assert by_name(given["extraEnvVars"]) == {**PATIENCE, "DO_NOT_TRACK": "1"}


def render(chart: str, release: str, name: str, *sets: str) -> list[dict[str, Any]]:
    """What Helm makes of the values; skips without Helm or the chart."""
    helm = shutil.which("helm")
    if helm is None or not (CHARTS / chart / "Chart.yaml").is_file():
        pytest.skip(f"needs Helm and the chart in {CHARTS / chart}; the Makefile says how")
    command = [helm, "template", release, str(CHARTS / chart), "--namespace", "figa"]
    command += ["--values", str(FOLDER / name), *(f"--set={each}" for each in sets)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def containers(rendered: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]
        for each in rendered
        if each["kind"] in ("Deployment", "Job")
    }


def test_the_chart_of_the_server_sets_what_the_compose_file_sets() -> None:
    rendered = render("prefect-server", "prefect-server", "server-values.yaml")
    for manifest in rendered:
        check(manifest)
    found = containers(rendered)
    assert found.keys() >= {"prefect-server", "prefect-server-background-services"}
    assert not [each for each in rendered if each["kind"] in ("Secret", "StatefulSet")], "by reference"
    newer = {"API_DATABASE": "SERVER_DATABASE"}
    for name, container in found.items():
        environment = by_name(container["env"])
        for old, new in newer.items():
            environment = {key.replace(new, old): value for key, value in environment.items()}
        for setting, value in COMPOSE["server"]["environment"].items():
            if (
                setting in ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_UI_API_URL")
                and name != "prefect-server"
            ):
                continue  # of the API alone
            if name == "prefect-server-db-migrations" and setting in BY_CHART - {BY_DATABASE}:
                continue  # it only needs the database
            assert setting in environment, (name, setting)
            if setting in BY_CHART and "${" not in value:
                assert environment[setting] == value, (name, setting)
        secret = {"secretKeyRef": {"name": "figa-postgres", "key": "connection-string"}}
        assert environment[BY_DATABASE] == secret, name
        assert container["image"] == "figa:0.1.0", name
    assert by_name(found["prefect-server"]["env"])["PREFECT_SERVER_API_AUTH_STRING"] == {
        "secretKeyRef": {"name": "figa-api", "key": "auth-string"}
    }
    assert "--no-services" in found["prefect-server"]["args"]


@pytest.mark.parametrize("pool", list(Pool))
def test_the_chart_of_the_worker_makes_jobs_of_the_runs_on_a_pool(pool: Pool) -> None:
    sets = f"worker.config.workPool={pool},worker.config.name=figa-{pool}-kubernetes"
    rendered = render("prefect-worker", f"figa-{pool}", "worker-values.yaml", sets)
    for manifest in rendered:
        check(manifest)
    worker = containers(rendered)[f"figa-{pool}"]
    arguments = worker["args"]
    assert arguments[arguments.index("--pool") + 1] == pool
    assert arguments[arguments.index("--type") + 1] == PoolType.KUBERNETES
    environment = by_name(worker["env"])
    assert environment["PREFECT_API_URL"] == "http://prefect-server.figa:4200/api"
    secret = {"name": "figa-api", "key": "auth-string"}
    assert environment["PREFECT_API_AUTH_STRING"] == {"secretKeyRef": secret}
    prefix = "PREFECT_INTEGRATIONS_KUBERNETES_"
    assert environment[f"{prefix}OBSERVER_NAMESPACES"] == "figa", "its rights end there"
    assert environment[f"{prefix}WORKER_API_AUTH_STRING_SECRET_NAME"] == secret["name"]
    assert environment[f"{prefix}WORKER_API_AUTH_STRING_SECRET_KEY"] == secret["key"]
    assert PATIENCE.items() <= environment.items()
