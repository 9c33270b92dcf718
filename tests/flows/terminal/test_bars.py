"""Progress as bars in a terminal."""

from io import StringIO

from rich.console import Console

from flows.terminal.bars import Bars


def test_a_terminal_shows_the_counts_during_a_stage_and_keeps_only_lines() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100)
    bars = Bars(console)
    with bars.stage("generate") as on_progress:
        on_progress(1200, 2400)
    bars.line("generate done")
    output = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "1,200 of 2,400" in output
    assert output.rstrip().endswith("generate done")


def test_a_wait_is_shown_while_it_lasts() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100)
    with Bars(console).waiting("starting a Prefect server"):
        pass
    output = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "starting a Prefect server" in output
