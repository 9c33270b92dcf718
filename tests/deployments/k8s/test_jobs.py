"""The Job that Prefect's own worker sends to Kubernetes, received by a fake Kubernetes API."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.pools import Pool, PoolType, job_template
from tests.deployments.k8s.files import FOLDER, check, values

kubernetes = pytest.importorskip("prefect_kubernetes.worker", reason="`make test-slow` installs it")
pytestmark = pytest.mark.slow  # for what it needs, not for its time: see the Makefile

API = "http://prefect-server.figa:4200/api"
PASSWORD = "name:a-password-that-must-appear-nowhere"
SECRET = {"name": "figa-api", "key": "auth-string"}


class Kubernetes(BaseHTTPRequestHandler):
    """Takes Jobs."""

    jobs: ClassVar[list[dict[str, Any]]] = []

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name there

    def do_POST(self) -> None:
        assert self.path == "/apis/batch/v1/namespaces/figa/jobs"
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.jobs.append(job)
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({**job, "metadata": {**job["metadata"], "name": "happy-run-x"}}).encode())


@pytest.fixture
def cluster() -> Iterator[Any]:
    """How a client reaches it."""
    credentials = pytest.importorskip("prefect_kubernetes.credentials")
    with HTTPServer(("127.0.0.1", 0), Kubernetes) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        here = {"server": f"http://127.0.0.1:{server.server_port}"}
        config = {
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": here}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "users": [{"name": "me", "user": {}}],
        }
        Kubernetes.jobs.clear()
        yield credentials.KubernetesClusterConfig(context_name="here", config=config)
        server.shutdown()


def by_deployment() -> dict[str, Any]:
    """What a deployment adds (deployments/prefect.yaml, deployments/deploy.py)."""
    file = yaml.safe_load((FOLDER.parent / "prefect.yaml").read_text("utf-8"))
    return {**file["definitions"]["process"], "image": "registry/figa:1"}


async def configuration(template: dict[str, Any]) -> Any:
    return await kubernetes.KubernetesWorkerJobConfiguration.from_template_and_values(
        template, by_deployment()
    )


@pytest.mark.parametrize("pool", list(Pool))
async def test_a_run_becomes_a_job_that_kubernetes_takes(
    pool: Pool, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the chart does with basicAuth.existingSecret (test_values).
    assert (
        values("worker-values.yaml")["worker"]["selfHostedServerApiConfig"]["basicAuth"]["existingSecret"]
        == (SECRET["name"])
    )
    for part, value in SECRET.items():
        monkeypatch.setenv(
            f"PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_{part.upper()}", value
        )
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="assistant: γ 0.3, node 1 of 2")
    worker = kubernetes.KubernetesWorker(pool)
    with temporary_settings({PREFECT_API_URL: API, PREFECT_API_AUTH_STRING: PASSWORD}):
        wanted = await configuration(job_template(pool, PoolType.KUBERNETES))
        wanted.cluster_config = cluster
        wanted.prepare_for_flow_run(run)
        async with worker._get_configured_kubernetes_client(wanted) as client:
            await worker._create_job(wanted, client)
    [job] = Kubernetes.jobs
    check(job)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,50}-", job["metadata"]["generateName"])
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["tini", "--"]
    assert container["args"] == ["python", "-m", "deployments.engine"]
    assert container["image"] == "registry/figa:1"
    environment = {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}
    assert environment["PREFECT_API_URL"] == API
    assert environment["PREFECT_API_AUTH_STRING"] == {"secretKeyRef": SECRET}
    assert environment["PREFECT__FLOW_RUN_ID"] == str(run.id)
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert environment["DO_NOT_TRACK"] == "1"
    assert PASSWORD not in json.dumps(job)


@pytest.mark.parametrize("field", ["parallelism", "completions"])
async def test_prefects_worker_insists_on_two_fields_of_a_job(field: str) -> None:
    template = job_template(Pool.CPU, PoolType.KUBERNETES)
    del template["job_configuration"]["job_manifest"]["spec"][field]
    with (
        temporary_settings({PREFECT_API_URL: API}),
        pytest.raises(ValueError, match=r"missing required attributes"),
    ):
        await configuration(template)
