"""Real event files, read back by the format's own messages."""

import logging
import struct
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from figa_core.tracking import files
from figa_core.tracking.files import Results
from figa_core.tracking.follow import Trackers, send, tracked
from figa_core.tracking.to_tensorboard import TensorBoard

from .trainings import RUN, add_steps, figures_in_metrics, finish

pytest.importorskip("tensorboardX")


@pytest.fixture
def trackers(tmp_path: Path) -> Trackers:
    return Trackers(["tensorboard"], tmp_path / "tracking", tmp_path / "logs", wait_s=120)


def records(path: Path) -> Iterator[bytes]:
    """A record is its length, a checksum, its bytes and another checksum."""
    content, at = path.read_bytes(), 0
    while at < len(content):
        [length] = struct.unpack_from("<Q", content, at)
        yield content[at + 12 : at + 12 + length]
        at += length + 16


def read_back(directory: Path) -> tuple[dict[int, dict[str, float]], dict[str, str]]:
    """Figures by step, and texts."""
    event_type: Any = vars(import_module("tensorboardX.proto.event_pb2"))["Event"]
    figures: dict[int, dict[str, float]] = {}
    texts: dict[str, str] = {}
    for path in sorted(directory.glob("*/events.*")):
        for record in records(path):
            event = event_type.FromString(record)
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    assert value.tag not in figures.setdefault(event.step, {}), "sent twice"
                    figures[event.step][value.tag] = value.simple_value
                else:
                    texts[value.tag] = value.tensor.string_val[0].decode()
    return figures, texts


def test_a_training_that_is_stopped_and_resumed_is_one_run_with_every_figure_of_its_metrics(
    tmp_path: Path, trackers: Trackers
) -> None:
    output = tmp_path / "training-1"
    with suppress(KeyboardInterrupt), tracked(output, RUN, trackers):
        add_steps(output, [1, 2, 3])
        raise KeyboardInterrupt
    assert not files.is_sent(output, "tensorboard")
    with tracked(output, RUN, trackers):
        add_steps(output, [4, 5])
        finish(output, 5)
    assert files.is_sent(output, "tensorboard")
    report = tmp_path / "report.html"
    files.write_results(
        output, Results({"evaluation/verifier": 81.5}, {"revision.model": "r|1"}, (str(report),))
    )
    send([output], trackers)

    [run] = (tmp_path / "tracking" / "tensorboard").iterdir()
    figures, texts = read_back(run.parent)
    of_result = {k: v for k, v in figures[5].items() if not k.startswith("training/")}
    assert of_result["evaluation/verifier"] == 81.5
    assert of_result["result/steps"] == 5
    in_metrics = figures_in_metrics(output)
    assert figures.keys() == in_metrics.keys()
    for step, expected in in_metrics.items():
        found = {name: value for name, value in figures[step].items() if name.startswith("training/")}
        assert found == pytest.approx(expected, rel=1e-6)
    assert "| training.seed | 3 |" in texts["settings/text_summary"]
    assert "| revision.model | r\\|1 |" in texts["settings of the run/text_summary"]
    assert str(report) in texts["report.html/text_summary"]


def test_a_directory_that_cannot_be_written_is_one_warning_and_no_error(
    tmp_path: Path, trackers: Trackers, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "training-1"
    (tmp_path / "tracking").write_text("a file where a directory must be")
    with caplog.at_level(logging.INFO), tracked(output, RUN, trackers):
        add_steps(output, [1])
        finish(output, 1)
    [record] = [each for each in caplog.records if each.name == "figa_core.tracking"]
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        "tensorboard does not take the training's figures (NotADirectoryError"
    )
    assert "The training goes on" in record.getMessage()
    (tmp_path / "tracking").unlink()
    with tracked(output, RUN, trackers):  # the same command sends what is missing
        pass
    assert files.is_sent(output, "tensorboard")


@pytest.mark.trackers
def test_tensorboard_itself_reads_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import (  # pyright: ignore[reportMissingImports]
        EventAccumulator,
    )

    tracker = TensorBoard(tmp_path, print)
    entry = tracker.start(RUN, None)
    for step in (1, 2):
        tracker.log(step, {"training/loss": 1.0 / step})
    tracker.finish(succeeded=True)
    found = EventAccumulator(entry.place, size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    assert [(each.step, each.value) for each in found.Scalars("training/loss")] == [(1, 1.0), (2, 0.5)]
    assert "settings/text_summary" in found.Tags()["tensors"]
