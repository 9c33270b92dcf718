"""`figa join` goes on after a training that failed on this machine."""

from pathlib import Path

import pytest

from figa_core.errors import TrainingError
from figa_core.training.nodes.board import Meeting
from flows import join


@pytest.mark.parametrize("error", [TrainingError("rank 1 ended"), OSError(28, "No space left on device")])
def test_an_error_ends_one_training_and_not_the_node(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meeting(name: str) -> Meeting:
        return Meeting(name, tmp_path / "trainings" / name / "job.json", "127.0.0.1", 1, 2)

    def take_part(meeting: Meeting, *_: object) -> None:
        if meeting.attempt == "first":
            raise error

    monkeypatch.setattr(join, "meetings", lambda *_, **__: iter([meeting("first"), meeting("second")]))
    monkeypatch.setattr(join, "take_part", take_part)
    said: list[str] = []
    join.join_trainings(tmp_path, 1, said.append)
    assert said[1:] == [f"error: {error}", "node 1: done, waits for the next training"]
