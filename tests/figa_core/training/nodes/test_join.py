"""A further node takes part in every meeting that needs it, once, for as long as it is called."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.errors import InterruptedRunError, TrainingError
from figa_core.processes import interruption
from figa_core.training.failures import record_failure, write_failure
from figa_core.training.nodes import join
from figa_core.training.nodes.board import Board, Meeting
from figa_core.training.nodes.endings import Ending
from figa_core.training.nodes.join import known_cause, meetings


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "nodes.json", "session")


@pytest.fixture
def meeting(tmp_path: Path) -> Iterator[Meeting]:
    """One whose node 0 listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Meeting("first", tmp_path / "job.json", "127.0.0.1", server.getsockname()[1], nodes=3)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(join, "_POLL_S", 0.01)
    monkeypatch.setattr(join, "SEEN_WITHIN_S", 0.2)
    interruption.clear()
    yield
    interruption.clear()


def test_each_attempt_is_attended_once_until_the_session_ends(board: Board, meeting: Meeting) -> None:
    board.call(meeting)
    attended = []
    for found in meetings(board, 1, session="session"):
        attended.append(found.attempt)
        if len(attended) == 1:
            board.call(replace(meeting, attempt="again"))
        else:
            board.end()
    assert attended == ["first", "again"]


def test_a_node_waits_for_meetings_that_need_it_and_whose_first_node_is_there(
    board: Board, meeting: Meeting
) -> None:
    said = iter([None, None, None, "enough"])
    for unwanted in (replace(meeting, nodes=1), replace(meeting, host="127.0.0.2", port=1)):
        board.call(unwanted)
        with pytest.raises(TrainingError, match="enough"):
            next(meetings(board, 1, session="session", problem=lambda: next(said, "enough")))


def test_without_a_session_every_meeting_counts(board: Board, meeting: Meeting) -> None:
    board.call(meeting)
    assert next(meetings(Board(board.path), 2, session=None)) == meeting


def test_a_node_that_does_not_see_the_board_names_it(board: Board) -> None:
    with pytest.raises(TrainingError, match=rf"node 1 \(.+\) does not see {board.path}, which node 0 wrote"):
        next(meetings(board, 1, session="session"))


def test_a_node_that_nobody_needs_any_more_ends(board: Board) -> None:
    board.end()
    with pytest.raises(TrainingError, match="is not needed"):
        next(meetings(board, 1, session="session"))


def test_a_node_ends_when_it_is_asked_to(board: Board) -> None:
    board.clear()
    interruption.request()
    with pytest.raises(InterruptedRunError):
        next(meetings(board, 1, session="session"))


def test_a_job_that_a_node_does_not_see_is_named(meeting: Meeting, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=rf"node 2 \(.+\) does not see {meeting.job}, which node 0 wrote"):
        join.take_part(meeting, 2, tmp_path / "log")


def test_the_cause_of_a_training_s_end_is_waited_for_a_moment(tmp_path: Path) -> None:
    assert known_cause(tmp_path, within_s=0.0) is None
    record_failure(tmp_path, 0, RuntimeError("Connection closed by peer"), secondary=True)
    broken = known_cause(tmp_path, within_s=0.0)
    assert broken is not None
    assert broken.secondary
    later = threading.Timer(0.2, write_failure, (tmp_path, Ending(1, "node 1 (gpu2)").as_failure()))
    later.start()
    cause = known_cause(tmp_path, within_s=60.0)
    later.join()
    assert cause is not None
    assert cause.origin == "rank 1 on node 1 (gpu2)"
