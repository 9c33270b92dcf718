"""Real MLflow: a database below the workspace, and servers that cannot be used."""

import logging
import sqlite3
from pathlib import Path

import pytest

from figa_core.tracking import files
from figa_core.tracking.follow import Trackers, tracked

from .servers import KEY, Refusing, Silent, closed_port
from .trainings import (
    RUN,
    add_steps,
    figures_in_metrics,
    finish,
    require_nowhere,
    stopped_resumed_and_judged,
)

pytestmark = pytest.mark.trackers
pytest.importorskip("mlflow")


@pytest.fixture
def trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trackers:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return Trackers(["mlflow"], tmp_path / "tracking", tmp_path / "logs", wait_s=250)


def query(trackers: Trackers, text: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(trackers.local / "mlflow.db") as database:
        return database.execute(text).fetchall()


def figures_by_step(trackers: Trackers) -> dict[int, dict[str, float]]:
    """What MLflow has, every value once."""
    found: dict[int, dict[str, float]] = {}
    for key, step, value in query(trackers, "SELECT key, step, value FROM metrics"):
        assert key not in found.setdefault(int(str(step)), {}), "sent twice"
        found[int(str(step))][str(key)] = float(str(value))
    return found


def test_a_training_that_is_stopped_and_resumed_is_one_run_with_every_figure_of_its_metrics(
    tmp_path: Path, trackers: Trackers
) -> None:
    output, report = stopped_resumed_and_judged(tmp_path, trackers)
    assert files.is_sent(output, "mlflow")

    figures = figures_by_step(trackers)
    of_result = {k: figures[5].pop(k) for k in list(figures[5]) if not k.startswith("training/")}
    assert figures == figures_in_metrics(output)
    assert of_result["evaluation/verifier"] == 81.5
    assert query(trackers, "SELECT name, status FROM runs") == [(RUN.name, "FINISHED")]
    params = {str(key): value for key, value in query(trackers, "SELECT key, value FROM params")}
    assert params == {"training.seed": "3", "loss.alpha": "0.5", "revision.model": "r"}
    [kept] = trackers.local.rglob("report.html")
    assert kept.read_bytes() == report.read_bytes()


@pytest.mark.parametrize("server", ["closed", "silent", "refusing"])
def test_a_server_that_cannot_be_used_is_one_warning_and_the_figures_are_written_to_files(
    tmp_path: Path,
    trackers: Trackers,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", KEY)
    with Silent() as silent, Refusing() as refusing:
        port = {"closed": closed_port(), "silent": silent.port, "refusing": refusing.port}[server]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:{KEY}@127.0.0.1:{port}")
        output = tmp_path / "training-1"
        with caplog.at_level(logging.WARNING), tracked(output, RUN, trackers):
            add_steps(output, [1, 2])
            finish(output, 2)
        assert not refusing.asked or server == "refusing"
    assert files.is_sent(output, "mlflow")
    assert figures_by_step(trackers)[1] == figures_in_metrics(output)[1]
    [record] = [each for each in caplog.records if each.name == "figa_core.tracking"]
    said = "refuses the key" if server == "refusing" else "cannot be used"
    assert record.getMessage().startswith(f"MLflow at http://127.0.0.1:{port} {said} (")
    require_nowhere(KEY, tmp_path)
