"""The funnel accounts for every row, in HTML, Markdown and plain lines."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from figa_core.report.funnel import UNACCOUNTED, Drop, Funnel, FunnelStep, funnel_lines, funnel_markdown

FUNNEL = Funnel(
    (
        FunnelStep("prompts", 1000),
        FunnelStep("responses", 4000),
        FunnelStep("kept", 1000, (Drop("gap too small", 900), Drop("reward too high", 2100))),
        FunnelStep("revised", 0),
    )
)


def test_shares_are_of_the_previous_step_or_multiples_of_it() -> None:
    assert [row.share for row in FUNNEL.rows()] == [
        "",
        "4.0 × prompts",
        "25.0 % of responses",
        "0.0 % of kept",
    ]
    assert [row.width for row in FUNNEL.rows()] == [0.25, 1.0, 0.25, 0.0]


def test_reasons_are_sorted_by_rows_and_unexplained_rows_are_shown() -> None:
    rows = FUNNEL.rows()
    assert [drop.count for drop in rows[2].drops] == [2100, 900]
    assert rows[3].drops == (Drop(UNACCOUNTED, 1000),)


@given(st.lists(st.integers(0, 500), min_size=2, max_size=6), st.integers(0, 50))
def test_no_row_vanishes(counts: list[int], dropped: int) -> None:
    steps = [FunnelStep("s0", counts[0])]
    for index, count in enumerate(counts[1:], start=1):
        lost = max(counts[index - 1] - count, 0)
        steps.append(FunnelStep(f"s{index}", count, (Drop("why", min(dropped, lost)),)))
    rows = Funnel(tuple(steps)).rows()
    for before, row in pairwise(rows):
        if row.count <= before.count:
            assert row.count + sum(drop.count for drop in row.drops) == before.count
        assert 0 <= row.width <= 1


def test_markdown_is_two_tables_and_cannot_be_broken_by_a_reason() -> None:
    text = funnel_markdown(
        Funnel((FunnelStep("prompts", 2), FunnelStep("kept", 1, (Drop("a | b\n<script>", 1),))))
    )
    assert "| kept | 1 | 50.0 % of prompts |" in text
    assert "| kept | 1 | a \\| b &lt;script&gt; |" in text
    assert "<script>" not in text


def test_lines_are_aligned_and_hold_reasons() -> None:
    lines = funnel_lines(FUNNEL)
    assert lines[0].startswith("prompts    ██████···")
    assert lines[1].endswith("4,000  4.0 × prompts")
    assert lines[3].split() == ["−", "2,100", "reward", "too", "high"]
    assert len({line.index("█") for line in lines if "█" in line}) == 1


def test_an_empty_funnel_says_so() -> None:
    assert funnel_lines(Funnel(())) == ["No rows have entered this run yet."]
    assert funnel_markdown(Funnel(())) == "No rows have entered this run yet."
