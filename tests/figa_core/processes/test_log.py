"""A growing file, and the messages in it that reach the log."""

import contextvars
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from figa_core.processes.log import followed

LOGGER = logging.getLogger("figa_core.test")
WARNING = "figa warning: {}\n"
Log = pytest.LogCaptureFixture
RUN = contextvars.ContextVar("RUN", default="no run")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "child.log"
    path.write_text("figa error: of an earlier run\n")
    return path


@pytest.fixture
def log(caplog: Log) -> Log:
    caplog.set_level(logging.INFO, logger="figa_core")
    return caplog


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def wait_for(log: Log, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(log.messages) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def test_messages_are_logged_while_the_child_runs_without_an_earlier_runs(path: Path, log: Log) -> None:
    with followed(path, LOGGER):
        append(path, "figa: loaded\nnoise\n" + WARNING.format("it is slow"))
        wait_for(log, 2)
        assert log.messages == ["loaded", "it is slow"]
    assert [record.levelname for record in log.records] == ["INFO", "WARNING"]


def test_all_messages_are_logged_before_the_childs_end_is_reported(path: Path, log: Log) -> None:
    program = (
        "from figa_core.processes.tell import tell, tell_troubles\n"
        "tell_troubles()\ntell('loaded')\nraise ValueError('no')"
    )
    with path.open("ab") as output, followed(path, LOGGER):
        assert subprocess.run([sys.executable, "-c", program], stdout=output, stderr=output).returncode == 1
    loaded, error = log.messages
    assert loaded == "loaded"
    assert error.startswith("ValueError: no\nTraceback (most recent call last):\n")


def test_torn_lines_progress_bars_and_broken_bytes_are_handled(path: Path, log: Log) -> None:
    with followed(path, LOGGER):
        append(path, "\rWriting:   0%|          | 0/1\rWriting: 100%|██████████| 1/1\nfiga: one li")
        time.sleep(0.6)
        append(path, "ne\r\nfiga: \xe4\n".encode("latin-1") + b"x" * 200_000 + b"\nfiga: without an end")
    assert log.messages == ["one line", "\ufffd", "without an end"]


def test_a_message_of_many_lines_is_logged_when_nothing_follows(path: Path, log: Log) -> None:
    with followed(path, LOGGER):
        append(path, "figa error: ValueError: no\nfiga| Traceback (most recent call last):\n")
        wait_for(log, 1)
        assert log.messages == ["ValueError: no\nTraceback (most recent call last):"]


def test_a_message_written_in_two_pieces_is_one(path: Path, log: Log) -> None:
    with followed(path, LOGGER):
        append(path, "figa error: ValueError: no\nfiga| ")
        time.sleep(0.3)
        append(path, "line 1\nfiga| line 2\nTraceback\nfiga| of nobody\n")
    assert log.messages == ["ValueError: no\nline 1\nline 2"]


def test_the_same_warning_is_logged_once_whatever_its_names_and_numbers(path: Path, log: Log) -> None:
    with followed(path, LOGGER):
        for name in ("embed_tokens.weight", "layers.0.mlp.down_proj.weight"):
            append(path, WARNING.format(f"Attempted to load weight {name} with dtype torch.float32"))
        append(path, "figa error rank0: port 949\nfiga error rank1: port 7\nfiga error: route\n")
    assert log.messages == [
        "Attempted to load weight embed_tokens.weight with dtype torch.float32",
        "rank0: port 949",
        "route",
    ]


def test_a_flood_is_cut_and_counted_and_leaves_room_for_errors(path: Path, log: Log) -> None:
    with followed(path, LOGGER):
        for index in range(1000):
            append(path, WARNING.format("again " * index))
        append(path, "figa error: drowned\n")
    assert len(log.messages) <= 50
    assert log.messages[-2] == "drowned"
    assert log.messages[-1].endswith(f"more lines like these are in {path}")
    assert int(log.messages[-1].split()[0]) > 300


def test_records_are_made_in_the_context_of_the_caller(path: Path) -> None:
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(RUN.get())

    handler = Handler()
    LOGGER.addHandler(handler)
    token = RUN.set("run 7")
    try:
        with followed(path, LOGGER):
            append(path, "figa error: no\n")
    finally:
        RUN.reset(token)
        LOGGER.removeHandler(handler)
    assert seen == ["run 7"]


def test_a_file_that_does_not_exist_yet_is_made_and_followed(tmp_path: Path, log: Log) -> None:
    path = tmp_path / "logs" / "child.log"
    with followed(path, LOGGER):
        append(path, WARNING.format("first line"))
    assert log.messages == ["first line"]
