"""The Prefect API as the UI uses it."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx


class _Patient(httpx.BaseTransport):
    """Repeats requests that are refused while Prefect's SQLite is locked (503), as Prefect's client does."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + 60
        while True:
            response = self._transport.handle_request(request)
            if response.status_code != 503 or time.monotonic() > deadline:
                return response
            response.close()
            time.sleep(0.5)

    def close(self) -> None:
        self._transport.close()


class Api:
    """Requests to a Prefect server, and waiting for what happens there."""

    def __init__(self, ui_url: str, auth: str | None = None) -> None:
        """`auth`: "name:password" of the API, if it wants one."""
        self.url = ui_url
        name, _, password = (auth or "").partition(":")
        self.api = httpx.Client(
            base_url=self.api_url,
            timeout=60,
            transport=_Patient(httpx.HTTPTransport()),
            auth=(name, password) if auth else None,
        )

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    def check_alive(self) -> None:
        """Fails if what serves the API has ended."""

    def story(self) -> str:
        """What a failure shows."""
        return ""

    def wait_for(self, happened: Callable[[], Any], timeout_s: float = 120.0) -> Any:
        """What `happened` returns, once that is true."""
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if found := happened():
                    return found
            self.check_alive()
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s\n{self.story()}"
            time.sleep(0.3)

    def post(self, route: str, **body: Any) -> Any:
        response = self.api.post(route, json=body)
        response.raise_for_status()
        return response.json() if response.content else None

    def get(self, route: str) -> Any:
        response = self.api.get(route)
        response.raise_for_status()
        return response.json()

    def workers(self, pool: str) -> list[dict[str, Any]]:
        found = self.post(f"/work_pools/{pool}/workers/filter", limit=10, offset=0)
        return [worker for worker in found if worker["status"] == "ONLINE"]

    def deployment(self, name: str) -> dict[str, Any]:
        return self.get(f"/deployments/name/{name}/{name}")

    def run(self, name: str, **parameters: Any) -> str:
        """Start a deployment as the form does; returns the flow run's id."""
        deployment = self.deployment(name)
        route = f"/deployments/{deployment['id']}/create_flow_run"
        return self.post(route, parameters=parameters, state={"type": "SCHEDULED"})["id"]

    def flow_run(self, run: str) -> dict[str, Any]:
        return self.get(f"/flow_runs/{run}")

    def retry(self, run: str) -> None:
        """Send what the Retry button sends."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        assert self.post(f"/flow_runs/{run}/set_state", state=state)["status"] == "ACCEPT"

    def ended(self, run: str, timeout_s: float = 240.0) -> dict[str, Any]:
        """The run, once its state is final."""

        def final() -> dict[str, Any] | None:
            found = self.flow_run(run)
            return found if found["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

        return self.wait_for(final, timeout_s)

    def in_state(self, run: str, *names: str, timeout_s: float = 120.0) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = self.flow_run(run)
            return found if found["state_name"] in names else None

        return self.wait_for(there, timeout_s)

    def logs(self, run: str) -> list[dict[str, Any]]:
        wanted = {"flow_run_id": {"any_": [run]}}
        return self.post("/logs/filter", logs=wanted, limit=200, sort="TIMESTAMP_ASC")

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """The newest artifact of each key."""
        wanted = {"flow_run_id": {"any_": [run]}}
        found = self.post("/artifacts/filter", artifacts=wanted, limit=100)
        return {each["key"]: each for each in sorted(found, key=lambda each: each["updated"])}

    def children_of(self, run: str) -> list[dict[str, Any]]:
        """The flow runs that a flow run started."""
        return self.post("/flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [run]}}, limit=50)
