"""Stages one after another: the line and the time of each, and a request to stop during it."""

from collections.abc import Iterator

import pytest

from figa_core.errors import InputError, InterruptedRunError
from figa_core.ports import ProgressCallback
from figa_core.processes import interruption
from flows.progress import Lines
from flows.run.story import Story
from tasks.results import StageCounts


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def story(lines: list[str]) -> Iterator[Story]:
    yield Story(Lines(lines.append))
    interruption.clear()


def test_a_stage_leaves_a_line_with_its_counts_and_its_time(story: Story, lines: list[str]) -> None:
    with story.stage("filter") as stage:
        stage.counts = StageCounts(5, 3, {"too good": 2})
    [line] = lines
    assert line.split()[:4] == ["filter", "5", "→", "3"]
    assert line.endswith("2 too good")
    assert list(story.seconds) == ["filter"]


def test_a_stage_that_fails_leaves_no_line(story: Story, lines: list[str]) -> None:
    with pytest.raises(InputError), story.stage("import"):
        raise InputError("no such file")
    assert lines == []
    assert story.seconds == {}


def test_a_stage_without_counts_is_an_error(story: Story, lines: list[str]) -> None:
    with pytest.raises(AttributeError, match="counts"), story.stage("import"):
        pass
    assert lines == []


def test_a_stage_ends_between_two_pieces_of_work_if_the_run_is_asked_to_stop(story: Story) -> None:
    done: list[int] = []

    def generate(on_progress: ProgressCallback) -> None:
        for piece in range(3):
            done.append(piece)
            if piece == 1:
                interruption.request()
            on_progress(piece, 3)

    with pytest.raises(InterruptedRunError), story.stage("generate") as stage:
        generate(stage.on_progress)
    assert done == [0, 1]
    assert story.seconds == {}


def test_an_async_stage_is_not_interrupted_while_it_ends(story: Story) -> None:
    with story.stage("revise") as stage:
        interruption.request()
        stage.show(1, 1)
        stage.counts = StageCounts(1, 1)
    assert list(story.seconds) == ["revise"]


def test_no_stage_begins_after_a_request_to_stop(story: Story) -> None:
    interruption.request()
    with pytest.raises(InterruptedRunError), story.stage("weigh"):
        pytest.fail("the stage began")


def test_a_failure_because_the_run_is_stopped_is_not_an_error_of_the_run(story: Story) -> None:
    def loses_its_worker() -> None:
        interruption.request()
        raise OSError("the worker is gone")

    with pytest.raises(InterruptedRunError), story.stage("generate"):
        loses_its_worker()


def test_a_signal_can_name_the_running_stage_and_what_happens_first(story: Story) -> None:
    with story.stage("revise", stopping="answers under way are awaited") as stage:
        stage.counts = StageCounts(0, 0)
        assert interruption._state.doing == ["revise; answers under way are awaited"]
    assert interruption._state.doing == []
