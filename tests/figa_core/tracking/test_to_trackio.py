"""Real trackio: its database below the workspace, and servers that cannot be used."""

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

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
pytest.importorskip("trackio")


@pytest.fixture
def trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trackers:
    for name in ("TRACKIO_DIR", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_WRITE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Trackers(["trackio"], tmp_path / "tracking", tmp_path / "logs", wait_s=250)


def rows(trackers: Trackers, query: str) -> list[tuple[Any, ...]]:
    [path] = (trackers.local / "trackio").glob("figa*.db")
    with sqlite3.connect(path) as database:
        return database.execute(query).fetchall()


def figures_by_step(trackers: Trackers) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for step, metrics in rows(trackers, "SELECT step, metrics FROM metrics"):
        values = json.loads(metrics)
        assert not values.keys() & found.setdefault(int(step), {}).keys(), "sent twice"
        found[int(step)] |= values
    return found


def test_a_training_that_is_stopped_and_resumed_is_one_run_with_every_figure_of_its_metrics(
    tmp_path: Path, trackers: Trackers
) -> None:
    output, report = stopped_resumed_and_judged(tmp_path, trackers)
    assert files.is_sent(output, "trackio")
    figures = figures_by_step(trackers)
    of_result = {k: figures[5].pop(k) for k in list(figures[5]) if not k.startswith("training/")}
    assert figures == figures_in_metrics(output)
    assert of_result["evaluation/verifier"] == 81.5
    assert set(rows(trackers, "SELECT run_name FROM metrics")) == {(RUN.name,)}
    [(config,)] = rows(trackers, "SELECT config FROM configs")
    assert json.loads(config)["training.seed"] == 3
    contents = [path.read_bytes() for path in (trackers.local / "trackio").rglob("*") if path.is_file()]
    assert report.read_bytes() in contents


@pytest.mark.parametrize("server", ["closed", "silent", "refusing"])
def test_a_server_that_cannot_be_used_is_one_warning_and_the_figures_are_written_to_files(
    tmp_path: Path,
    trackers: Trackers,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Silent() as silent, Refusing() as refusing:
        port = {"closed": closed_port(), "silent": silent.port, "refusing": refusing.port}[server]
        monkeypatch.setenv("TRACKIO_SERVER_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("TRACKIO_WRITE_TOKEN", KEY)
        output = tmp_path / "training-1"
        with caplog.at_level(logging.WARNING), tracked(output, RUN, trackers):
            add_steps(output, [1, 2])
            finish(output, 2)
        assert bool(refusing.asked) == (server == "refusing")
    assert files.is_sent(output, "trackio")
    assert figures_by_step(trackers).keys() == {1, 2}
    [record] = [each for each in caplog.records if each.name == "figa_core.tracking"]
    assert record.getMessage().startswith("trackio: ")
    require_nowhere(KEY, tmp_path)
