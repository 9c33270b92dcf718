"""The manifests for Kubernetes: valid for its API, and jobs that Prefect's worker can fill in."""

import re
from importlib.metadata import version
from typing import Any

import pytest
import yaml
from prefect.utilities.templating import apply_values, find_placeholders

from deployments.pools import Pool, PoolType, job_template
from tests.deployments.k8s.files import FOLDER, check, manifests, values

MANIFESTS = ("storage.yaml", "deploy.yaml", "training.yaml")
REQUIRED = {("figa-api", "auth-string"), ("figa-postgres", "connection-string"), ("figa-redis", "url")}
"""Secrets and their keys."""
BY_PREFECT = {"command", "env", "labels", "name"}
"""Variables that Prefect or a deployment sets."""


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


def pods() -> dict[str, dict[str, Any]]:
    """The pod of everything of ours, by a name."""
    jobs = {f"pool {pool}": job_of(pool) for pool in Pool}
    jobs |= {name: each for name in MANIFESTS for each in manifests(name) if each["kind"] == "Job"}
    return {name: job["spec"]["template"]["spec"] for name, job in jobs.items()}


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_manifest_is_valid_for_the_api(name: str) -> None:
    for manifest in manifests(name):
        check(manifest)
        assert manifest["metadata"]["namespace"] == "figa"


@pytest.mark.parametrize("pool", list(Pool))
def test_a_run_is_a_valid_job(pool: Pool) -> None:
    check(job_of(pool))


def test_a_field_in_the_wrong_place_is_refused() -> None:
    validation = pytest.importorskip("kubernetes_validate", reason="`make test` installs it")
    [job] = manifests("deploy.yaml")
    job["spec"]["template"]["spec"]["completions"] = 1
    with pytest.raises(validation.ValidationError, match="completions"):
        check(job)


@pytest.mark.parametrize("pool", list(Pool))
def test_a_template_has_a_value_for_every_place(pool: Pool) -> None:
    template = job_template(pool, PoolType.KUBERNETES)
    places = {each.name for each in find_placeholders(template["job_configuration"])}
    variables = template["variables"]["properties"]
    assert places == set(variables)
    without = {name for name, each in variables.items() if "default" not in each}
    assert without == {*BY_PREFECT - {"env"}, "image"}
    assert "{{" not in str(job_of(pool))


@pytest.mark.parametrize("pool", list(Pool))
def test_kubernetes_never_begins_a_run_again_and_gives_it_time_to_store_its_results(pool: Pool) -> None:
    spec = job_of(pool)["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    least = 300 if pool is Pool.GPU else 60  # a training writes a checkpoint
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= least


def test_only_the_gpu_pool_has_gpus_and_shared_memory() -> None:
    limits = {pool: job_of(pool)["spec"]["template"]["spec"]["containers"][0]["resources"] for pool in Pool}
    assert "nvidia.com/gpu" not in limits[Pool.CPU]["limits"]
    assert limits[Pool.GPU]["limits"]["nvidia.com/gpu"] == "1"
    mounted = [volume["name"] for volume in job_of(Pool.GPU)["spec"]["template"]["spec"]["volumes"]]
    assert "shared-memory" in mounted


def test_every_volume_that_is_used_is_declared_and_the_other_way_round() -> None:
    claims = {each["metadata"]["name"] for each in manifests("storage.yaml")}
    for name, pod in pods().items():
        volumes = pod.get("volumes", [])
        assert {each["name"] for each in volumes} == {
            mount["name"] for container in pod["containers"] for mount in container.get("volumeMounts", [])
        }, name
        used = {
            each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each
        }
        assert used == (claims if name != "deploy.yaml" else set()), name


def test_what_we_run_has_no_rights_that_it_does_not_need() -> None:
    for name, pod in pods().items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, name


def test_the_secrets_are_those_that_the_readme_creates_and_only_the_keys_may_be_missing() -> None:
    used = set[tuple[str, str]]()
    for path in FOLDER.glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            used |= {*references(document)}
    for name in ("server-values.yaml", "worker-values.yaml"):
        text = str(values(name))
        used |= {(secret, "auth-string") for secret in re.findall(r"'existingSecret': '(.*?)'", text)}
    assert values("server-values.yaml")["secret"] == {"create": False, "name": "figa-postgres"}
    used.add(("figa-postgres", "connection-string"))  # the chart's name for it
    assert used == {*REQUIRED, ("figa-keys", "optional")}
    readme = (FOLDER.parents[1] / "README.md").read_text("utf-8")
    created = re.findall(r"create secret generic (\S+) --from-literal=(.+?)=", readme)
    assert {*created} == {*REQUIRED, ("figa-keys", "OPENAI_API_KEY")}


def references(document: Any) -> list[tuple[str, str]]:
    """Every secret that is named, with its key; "optional" for one whose keys are all used if it is there."""
    if isinstance(document, list):
        return [found for each in document for found in references(each)]
    if not isinstance(document, dict):
        return []
    found = list[tuple[str, str]]()
    if "secretKeyRef" in document:
        found.append((document["secretKeyRef"]["name"], document["secretKeyRef"]["key"]))
    if "secretRef" in document:
        assert document["secretRef"]["optional"] is True
        found.append((document["secretRef"]["name"], "optional"))
    return found + [each for value in document.values() for each in references(value)]


def test_no_secret_is_in_a_file() -> None:
    for path in FOLDER.glob("*.yaml"):
        text = re.sub("#.*", "", path.read_text("utf-8"))
        assert not re.search(
            r"kind: Secret|(KEY|PASSWORD|AUTH_STRING)\b.*value:|authString|://[^/ ]*@", text
        ), path


def test_all_use_one_image_and_one_address_of_the_api() -> None:
    images = {pod["containers"][0]["image"] for name, pod in pods().items() if name in MANIFESTS}
    server, worker = values("server-values.yaml"), values("worker-values.yaml")["worker"]
    tag = version("figa")
    assert (
        server["global"]["prefect"]["image"] == worker["image"] == {"repository": "figa", "prefectTag": tag}
    )
    assert images == {f"figa:{tag}", f"figa:{tag}-cuda"}
    [deploy] = manifests("deploy.yaml")
    container = deploy["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["python", "-m", "deployments.deploy", "--kubernetes", container["image"]]
    address = {each["name"]: each.get("value") for each in container["env"]}["PREFECT_API_URL"]
    assert worker["selfHostedServerApiConfig"]["apiUrl"] == address == "http://prefect-server.figa:4200/api"
