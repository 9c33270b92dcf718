"""A tracker gets every step of metrics.jsonl once, whatever stops a training; and its results once."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.files import write_whole
from figa_core.tracking import files
from figa_core.tracking.files import Results
from figa_core.tracking.sender import Sender, figures_of
from figa_core.tracking.tracker import Entry
from figa_core.training.metrics import to_line

from .trainings import Recording, add_steps, begin, figures_in_metrics, finish, step_of


@pytest.fixture
def output(tmp_path: Path) -> Path:
    begin(tmp_path / "training-1")
    return tmp_path / "training-1"


def sender(output: Path, tracker: Recording) -> Sender:
    made = Sender("recording", tracker, output)
    made.start()
    return made


def test_a_tracker_gets_every_figure_of_every_line_as_the_file_grows(output: Path) -> None:
    tracker = Recording()
    following = sender(output, tracker)
    following.send_steps()  # the training has no step yet
    add_steps(output, [1, 2])
    following.send_steps()
    with (output / "metrics.jsonl").open("a") as file:  # half a line
        file.write(to_line(step_of(3))[:20])
    following.send_steps()
    assert tracker.logged == [1, 2]
    with (output / "metrics.jsonl").open("a") as file:
        file.write(to_line(step_of(3))[20:])
    following.send_steps()
    assert tracker.steps == figures_in_metrics(output)
    assert tracker.steps[3]["training/skipped"] == 1.0


def test_figures_that_are_not_finite_are_left_out() -> None:
    figures = figures_of(replace(step_of(1), loss=math.nan, grad_norm=math.inf))
    assert not {"training/loss", "training/grad_norm"} & figures.keys()
    assert figures["training/edited_nll"] == 0.125


def test_a_retry_continues_the_same_run_after_the_last_step_that_was_sent(output: Path) -> None:
    tracker = Recording()
    add_steps(output, [1, 2, 3])
    sender(output, tracker).send_steps()
    # The ranks resume from the checkpoint of step 2 and write the file anew.
    write_whole(output / "metrics.jsonl", "".join(to_line(step_of(step)) for step in (1, 2)).encode())
    following = sender(output, tracker)
    following.send_steps()
    add_steps(output, [3, 4])
    following.send_steps()
    assert tracker.logged == [1, 2, 3, 4]
    assert tracker.entries == [None, Entry("support: FIGA 1a2b3c4d", "online")]


def test_a_file_that_is_replaced_while_it_is_followed_is_read_again_without_repeating_a_step(
    output: Path,
) -> None:
    tracker = Recording()
    following = sender(output, tracker)
    add_steps(output, [1, 2, 3])
    following.send_steps()
    write_whole(output / "metrics.jsonl", "".join(to_line(step_of(step)) for step in (1, 2)).encode())
    following.send_steps()
    add_steps(output, [3, 4, 5])
    following.send_steps()
    assert tracker.logged == [1, 2, 3, 4, 5]


def test_steps_that_only_the_record_of_all_steps_has_are_sent_at_the_end(output: Path) -> None:
    """The training went back to step 2 before the tracker had read the last ones."""
    tracker = Recording()
    following = sender(output, tracker)
    add_steps(output, [1, 2])
    following.send_steps()
    whole = "".join(to_line(step_of(step)) for step in (1, 2, 3, 4))
    (output / "metrics-of-all-steps.jsonl").write_text(whole)
    finish(output, 2)
    following.finish(succeeded=True)
    assert tracker.logged == [1, 2, 3, 4]


def test_after_an_error_nothing_is_lost_and_the_run_goes_on(output: Path) -> None:
    tracker = Recording(fails=ConnectionError("gone"))
    add_steps(output, [1, 2])
    following = sender(output, tracker)
    with pytest.raises(ConnectionError):
        following.send_steps()
    add_steps(output, [3])
    following.send_steps()
    assert tracker.logged == [1, 2, 3]


def test_the_end_of_a_training_is_sent_once_and_so_are_its_results(output: Path) -> None:
    tracker = Recording()
    add_steps(output, [1, 2])
    finish(output, 2)
    sender(output, tracker).finish(succeeded=True)
    assert tracker.succeeded is True
    assert [figures["result/steps"] for figures in tracker.summaries] == [2.0]
    assert tracker.summaries[0]["result/wall_seconds"] == 12.5
    assert files.is_sent(output, "recording")

    report = output / "report.html"
    results = Results({"evaluation/verifier": 81.5}, {"run_id": "run-1"}, (str(report),))
    files.write_results(output, results)
    assert not files.is_sent(output, "recording")
    sender(output, tracker).finish(succeeded=True)
    assert tracker.logged == [1, 2]
    assert tracker.summaries[1:] == [{"evaluation/verifier": 81.5}]
    assert (tracker.settings, tracker.artifacts) == ({"run_id": "run-1"}, [report])
    assert files.is_sent(output, "recording")


def test_a_training_that_failed_is_not_complete_and_a_retry_sends_the_rest(output: Path) -> None:
    tracker = Recording()
    add_steps(output, [1])
    sender(output, tracker).finish(succeeded=False)
    assert (tracker.succeeded, tracker.summaries) == (False, [])
    assert not files.is_sent(output, "recording")
    add_steps(output, [2])
    finish(output, 2)
    sender(output, tracker).finish(succeeded=True)
    assert tracker.logged == [1, 2]
    assert files.is_sent(output, "recording")


def test_a_tracker_that_was_offline_gets_all_steps_once_it_is_online(output: Path) -> None:
    offline, online = Recording(place="offline"), Recording(place="online")
    add_steps(output, [1, 2])
    sender(output, offline).send_steps()
    sender(output, online).send_steps()
    assert (offline.logged, online.logged) == ([1, 2], [1, 2])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"entry": {"run": 1}}', '{"unknown": 1}', "null"])
def test_a_damaged_record_only_has_the_steps_sent_again(output: Path, content: str) -> None:
    add_steps(output, [1])
    sender(output, Recording()).send_steps()
    (output / "tracking" / "recording.json").write_text(content)
    again = Recording()
    sender(output, again).send_steps()
    assert again.logged == [1]
