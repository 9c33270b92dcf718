"""Real W&B: its files offline, and servers that cannot be used."""

import json
import logging
import struct
from collections.abc import Iterator
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
pytest.importorskip("wandb")


@pytest.fixture
def trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trackers:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no key and no settings of this machine's user
    return Trackers(["wandb"], tmp_path / "tracking", tmp_path / "logs", wait_s=250)


BLOCK, HEADER = 32768, 7


def records(path: Path) -> Iterator[bytes]:
    """LevelDB's log format behind seven bytes: blocks of pieces, each with checksum, length and type."""
    content, at, torn = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        torn += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield torn
            torn = b""


def read_back(trackers: Trackers) -> tuple[set[str], dict[int, dict[str, float]], dict[str, object]]:
    """The ids of the runs in all files, the figures by step, and the summary and settings."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportMissingImports]

    ids: set[str] = set()
    figures: dict[int, dict[str, float]] = {}
    others: dict[str, object] = {}
    for path in sorted(trackers.local.rglob("run-*.wandb")):
        for each in map(Record.FromString, records(path)):
            if each.HasField("run"):
                ids.add(each.run.run_id)
                others |= {item.key: json.loads(item.value_json) for item in each.run.config.update}
            items = {item.key or ".".join(item.nested_key): item.value_json for item in each.history.item}
            step = int(items["_step"]) if "_step" in items else each.history.step.num
            for name, value in items.items():
                if not name.startswith("_"):
                    assert name not in figures.setdefault(step, {}), "sent twice"
                    figures[step][name] = float(value)
            for update in (*each.summary.update, *each.config.update):
                name = update.key or ".".join(update.nested_key)
                others[name] = json.loads(update.value_json)
    return ids, figures, others


def test_a_training_that_is_stopped_and_resumed_offline_is_one_run_with_every_figure_of_its_metrics(
    tmp_path: Path, trackers: Trackers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    output, report = stopped_resumed_and_judged(tmp_path, trackers)
    assert files.is_sent(output, "wandb")
    ids, figures, others = read_back(trackers)
    assert len(ids) == 1
    assert figures == {step: pytest.approx(each) for step, each in figures_in_metrics(output).items()}
    assert (others["evaluation/verifier"], others["result/steps"]) == (81.5, 5)
    assert (others["revision.model"], others["training.seed"]) == ("r", 3)
    assert any(
        path.read_bytes() == report.read_bytes() for path in tmp_path.rglob("home/**/*") if path.is_file()
    )


@pytest.mark.parametrize("server", ["closed", "silent", "refusing", "no key"])
def test_a_server_that_cannot_be_used_is_one_warning_and_the_figures_are_written_to_files(
    tmp_path: Path,
    trackers: Trackers,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Silent() as silent, Refusing() as refusing:
        if server != "no key":
            monkeypatch.setenv("WANDB_API_KEY", KEY)
            port = {"closed": closed_port(), "silent": silent.port, "refusing": refusing.port}[server]
            monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        output = tmp_path / "training-1"
        with caplog.at_level(logging.WARNING), tracked(output, RUN, trackers):
            add_steps(output, [1, 2])
            finish(output, 2)
        assert bool(refusing.asked) == (server == "refusing")
    assert files.is_sent(output, "wandb")
    assert read_back(trackers)[1].keys() == {1, 2}
    [record] = [each for each in caplog.records if each.name == "figa_core.tracking"]
    said = "W&B has no key: set WANDB_API_KEY" if server == "no key" else "W&B cannot be used ("
    assert record.getMessage().startswith(said)
    assert "wandb sync" in record.getMessage()
    require_nowhere(KEY, tmp_path)
