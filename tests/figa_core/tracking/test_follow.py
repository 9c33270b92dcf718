"""Whatever a tracker's process does, the training goes on, and its end waits a bounded time."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from figa_core.tracking.follow import Command, Trackers, send, tracked

from .trainings import RUN, add_steps, begin, finish


def running(code: str) -> Command:
    def command(name: str, output: Path, local: Path) -> Sequence[str]:
        return [sys.executable, "-S", "-c", code, name]

    return command


def trackers(
    directory: Path, code: str, *, wait_s: float = 30.0, names: Sequence[str] = ("one",)
) -> Trackers:
    return Trackers(names, directory, directory / "logs", wait_s, wait_s_at_once=0.2, command=running(code))


HANGS = "import time; time.sleep(100)"


def test_a_tracker_that_hangs_is_ended_with_one_warning_and_leaves_no_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "training-1"
    with tracked(output, RUN, trackers(tmp_path, HANGS, wait_s=0.5, names=("one", "two"))):
        begun = time.monotonic()
        add_steps(output, [1])
        assert len(children()) == 2
        finish(output, 1)
    assert 0.5 <= time.monotonic() - begun < 10
    assert not children()
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(". ")[0] for message in messages] == [
        f"{name} did not end within 0.5 s and has the training's figures up to step 0"
        for name in ("one", "two")
    ]


def test_a_training_that_fails_keeps_its_own_error_and_waits_less(tmp_path: Path) -> None:
    begun = time.monotonic()
    with (
        pytest.raises(ZeroDivisionError),
        tracked(tmp_path / "training-1", RUN, trackers(tmp_path, HANGS, wait_s=60)),
    ):
        raise ZeroDivisionError
    assert time.monotonic() - begun < 20
    assert not children()


def test_a_tracker_that_dies_is_one_warning_with_its_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tracked(tmp_path / "training-1", RUN, trackers(tmp_path, "raise SystemExit(9)")):
        pass
    [record] = caplog.records
    assert "one ended with code 9" in record.getMessage()
    assert "track-one-" in record.getMessage()


def test_a_process_that_cannot_be_started_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unable = Trackers(["one"], tmp_path, tmp_path / "logs", command=lambda *_: ["/no/such/program"])
    with tracked(tmp_path / "training-1", RUN, unable):
        pass
    [record] = caplog.records
    assert "one does not follow this training: " in record.getMessage()


def test_a_training_whose_directory_cannot_be_written_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "training-1").write_text("a file")
    with tracked(tmp_path / "training-1", RUN, trackers(tmp_path, HANGS)):
        assert not children()
    [record] = caplog.records
    assert "No tracker follows this training" in record.getMessage()


def test_results_of_a_training_that_no_tracker_followed_are_not_sent(tmp_path: Path) -> None:
    finish_one = tmp_path / "training-1"
    add_steps(finish_one, [1])
    finish(finish_one, 1)
    send([finish_one], trackers(tmp_path, "open('started', 'w')"))
    assert not (tmp_path / "logs").exists()


def test_several_trackers_that_hang_share_the_time_of_their_results(tmp_path: Path) -> None:
    outputs = [tmp_path / f"training-{number}" for number in range(3)]
    for output in outputs:
        add_steps(output, [1])
        finish(output, 1)
        begin(output)
    begun = time.monotonic()
    send(outputs, trackers(tmp_path, HANGS, wait_s=0.4))
    assert time.monotonic() - begun < 20
    assert not children()


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if HANGS in each.cmdline()]
