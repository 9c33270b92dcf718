"""The manifests for Kubernetes: valid for its API, and jobs that Prefect's worker can fill in."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.templating import apply_values, find_placeholders

from deployments.pools import Pool, PoolType, job_template

FOLDER = Path(__file__).parents[3] / "deployments" / "k8s"
VERSION = "1.34"
BY_PREFECT = {"command", "env", "labels", "name"}
"""Variables that Prefect or a deployment sets."""


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


def job_of(pool: Pool) -> dict[str, Any]:
    """The Job of a run on this pool, as Prefect's worker makes it of the template."""
    template = job_template(pool, PoolType.KUBERNETES)
    defaults = {
        name: each["default"]
        for name, each in template["variables"]["properties"].items()
        if "default" in each
    }
    given = {
        "name": "happy-run",
        "image": "figa:1",
        "labels": {"prefect.io/flow-run-id": "x"},
        "env": [{"name": "PREFECT_API_URL", "value": "http://server/api"}],
        "command": ["python", "-m", "deployments.engine"],
    }
    return apply_values(template["job_configuration"]["job_manifest"], {**defaults, **given})


@pytest.mark.parametrize("name", ["storage.yaml", "workers.yaml"])
def test_every_manifest_is_valid_for_the_api(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="`make k8s` installs it")
    for manifest in manifests(name):
        validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("pool", list(Pool))
def test_a_run_is_a_valid_job(pool: Pool) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="`make k8s` installs it")
    job = job_of(pool)
    for field in (
        "parallelism",
        "completions",
    ):  # Prefect's worker insists on them here; Kubernetes drops them
        del job["spec"]["template"]["spec"][field]
    validate.validate(job, VERSION, strict=True)


@pytest.mark.parametrize("pool", list(Pool))
def test_a_template_has_a_value_for_every_place(pool: Pool) -> None:
    template = job_template(pool, PoolType.KUBERNETES)
    places = {each.name for each in find_placeholders(template["job_configuration"])}
    variables = template["variables"]["properties"]
    assert places == set(variables)
    assert {name for name, each in variables.items() if "default" not in each} == {*BY_PREFECT, "image"}
    assert "{{" not in str(job_of(pool))


@pytest.mark.parametrize("pool", list(Pool))
def test_kubernetes_never_begins_a_run_again_and_gives_it_time_to_store_its_results(pool: Pool) -> None:
    spec = job_of(pool)["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 60


def test_only_the_gpu_pool_has_gpus_and_shared_memory() -> None:
    limits = {
        pool: job_of(pool)["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        for pool in Pool
    }
    assert "nvidia.com/gpu" not in limits[Pool.CPU]
    assert limits[Pool.GPU]["nvidia.com/gpu"] == "1"
    mounted = [volume["name"] for volume in job_of(Pool.GPU)["spec"]["template"]["spec"]["volumes"]]
    assert "shared-memory" in mounted


def test_the_volumes_of_runs_are_declared_and_a_worker_polls_each_pool() -> None:
    claims = {each["metadata"]["name"] for each in manifests("storage.yaml")}
    for pool in Pool:
        volumes = job_of(pool)["spec"]["template"]["spec"]["volumes"]
        used = {
            each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each
        }
        assert used == claims
    workers = [each for each in manifests("workers.yaml") if each["kind"] == "Deployment"]
    commands = [each["spec"]["template"]["spec"]["containers"][0]["command"] for each in workers]
    assert {command[command.index("--pool") + 1] for command in commands} == set(Pool)
    assert all(command[command.index("--type") + 1] == PoolType.KUBERNETES for command in commands)


def test_no_secret_is_in_a_file() -> None:
    for path in FOLDER.glob("*.yaml"):
        text = re.sub("#.*", "", path.read_text("utf-8"))
        assert not re.search(r"kind: Secret|(KEY|PASSWORD|AUTH_STRING)\b.*value:", text), path
        for value in re.findall(r"secretRef: \{(.*?)\}", text):
            assert value.startswith("name: ")
