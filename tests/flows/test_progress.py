"""Progress as lines."""

from flows.progress import Lines, current, eta_text, result_line, showing
from tasks.results import StageCounts


def test_an_eta_extrapolates_the_speed_so_far() -> None:
    assert eta_text(10.0, 50, 100) == ", 20 s left"
    assert eta_text(60.0, 10, 300) == ", 30 min left"


def test_there_is_no_eta_before_the_first_row_or_after_the_last() -> None:
    assert eta_text(10.0, 0, 100) == ""
    assert eta_text(10.0, 100, 0) == ""


def test_a_finished_stage_shows_rows_in_rows_out_and_why_rows_were_left_out() -> None:
    line = result_line("filter", StageCounts(1200, 1000, {"too good": 150, "no": 50}), 2.04)
    assert line.split() == ["filter", "1,200", "→", "1,000", "2.0", "s", "150", "too", "good,", "50", "no"]


def test_a_stage_without_work_says_so() -> None:
    assert "nothing left to do" in result_line("revise", StageCounts(0, 0), 0.1)


def test_a_wait_is_announced_by_a_line() -> None:
    said: list[str] = []
    with Lines(said.append).waiting("starting a Prefect server"):
        assert said == ["starting a Prefect server"]


def test_a_flow_uses_the_chosen_progress() -> None:
    lines: list[str] = []
    chosen = Lines(lines.append)
    with showing(chosen), current().stage("generate") as on_progress:
        on_progress(1, 2)  # sooner than the first line is due
        current().line("done")
    assert lines == ["done"]
