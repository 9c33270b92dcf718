"""MLflow: the server that MLFLOW_TRACKING_URI names, otherwise a database below the workspace.

    mlflow ui --backend-store-uri sqlite:///WORKSPACE/tracking/mlflow.db

User, password and token come from MLflow's own environment variables.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from figa_core.errors import one_line
from figa_core.tracking.tracker import Entry, Note, TrackedRun

_METRICS_AT_ONCE, _SETTINGS_AT_ONCE = 1000, 100  # the most that one request may have
_SETTING_LONGEST = 6000
# By default a server that does not answer is asked for several minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Mlflow:
    """A run of the experiment that is called as the project."""

    def __init__(self, local: Path, note: Note) -> None:
        self._local, self._note = local, note
        self._waiting: list[Any] = []

    def start(self, run: TrackedRun, entry: Entry | None) -> Entry:
        for name, value in {**_PATIENCE, "MLFLOW_DISABLE_TELEMETRY": "true"}.items():
            os.environ.setdefault(name, value)
        client, experiment, place = self._open(run.project)
        self._client = client
        self._run = entry.run if entry and entry.place == place and _exists(client, entry.run) else None
        if self._run is not None:
            client.update_run(self._run, status="RUNNING")
        else:
            tags = {"figa.group": run.group}
            self._run = client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
            self._settings(run.settings)
        return Entry(self._run, place)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(time.time() * 1000)
        self._waiting += [Metric(name, value, now, step) for name, value in figures.items()]

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []  # after an error the same steps are logged again
        for metrics in _parts(waiting, _METRICS_AT_ONCE):
            self._client.log_batch(self._run, metrics=metrics)

    def summarise(self, step: int, figures: Mapping[str, float], settings: Mapping[str, str]) -> None:
        self.log(step, figures)
        self.flush()
        self._settings(settings)

    def artifact(self, path: Path) -> None:
        self._client.log_artifact(self._run, str(path))

    def finish(self, *, succeeded: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if succeeded else "FAILED")

    def _open(self, project: str) -> tuple[Any, str, str]:
        """A client, the id of the experiment, and the address; on files if the server does not serve us."""
        address = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
        local = f"sqlite:///{self._local / 'mlflow.db'}"
        if not address:
            return self._open_at(local, project)
        address = _without_credentials(address)
        try:
            return self._open_at(address, project)
        except Exception as error:  # MLflow raises many kinds
            why = "refuses the key" if _is_refusal(error) else "cannot be used"
            self._note(f"MLflow at {address} {why} ({one_line(error)}); its figures are written to {local}")
            return self._open_at(local, project)

    def _open_at(self, address: str, project: str) -> tuple[Any, str, str]:
        from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

        self._local.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=address)
        found = client.get_experiment_by_name(project)
        if found is not None:
            return client, found.experiment_id, address
        is_ours = address.startswith("sqlite:")
        artifacts = (self._local / "mlflow-artifacts").as_uri() if is_ours else None
        return client, client.create_experiment(project, artifact_location=artifacts), address

    def _settings(self, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        params = [Param(name, str(value)[:_SETTING_LONGEST]) for name, value in settings.items()]
        for part in _parts(params, _SETTINGS_AT_ONCE):
            self._client.log_batch(self._run, params=part)


def _exists(client: Any, run: str) -> bool:
    try:
        return client.get_run(run).info.lifecycle_stage == "active"
    except Exception:  # deleted for good, which each store says in its own way
        return False


def _is_refusal(error: Exception) -> bool:
    status = getattr(error, "get_http_status_code", lambda: None)()
    return status in (401, 403)


def _without_credentials(address: str) -> str:
    """The address without user and password, which go where MLflow looks for them: it logs addresses."""
    parts = urlsplit(address)
    if parts.username:
        os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(parts.username))
        os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(parts.password or ""))
    if not parts.scheme.startswith("http") or "@" not in parts.netloc:
        return address
    found = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    os.environ["MLFLOW_TRACKING_URI"] = found
    return found


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    return (list(items[at : at + size]) for at in range(0, len(items), size))
