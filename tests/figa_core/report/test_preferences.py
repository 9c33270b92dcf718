"""The report says in plain words what a judge found, and what speaks against it."""

import dataclasses

from figa_core.evaluation.preference import Compared, preference
from figa_core.report.data import JudgedPair, ReportData
from figa_core.report.html import render_report
from figa_core.report.preferences import judge_sentences, pair_json

PREFERS = [Compared(str(i), 1.0, 1.0, False, 10, 10 + i % 7) for i in range(30)]
BY_PLACE = [Compared(str(i), 0.0, 1.0, False, 10, 12) for i in range(30)]


def pair(rows: list[Compared], verifier: dict[str, float] | None = None) -> JudgedPair:
    return JudgedPair("base", "FIGA", "gpt", preference(rows, verifier))


def test_a_clear_preference_is_said_with_its_interval_and_what_lacks() -> None:
    rows = [*PREFERS, Compared("x", 0.0, 0.0, False, 10, 9)]
    first, length, place, verifier = judge_sentences(pair(rows, {str(i): 0.5 for i in range(20)}))
    assert first.startswith(
        "The judge gpt prefers FIGA to base: the win rate of FIGA is 96.8 % (95 % CI 90.2 to 100.0"
    )
    assert "30 wins, 0 ties, 1 losses" in first
    assert "needs 50 prompts" in length
    assert "preferred the answer shown first by 50.0 %" in place
    assert "prefer the same model for 100.0 % of the 20 prompts" in verifier


def test_a_judge_that_goes_by_the_place_is_marked_in_the_report_and_for_programs() -> None:
    found = pair(BY_PLACE)
    assert judge_sentences(found)[0].startswith("Do not rely on the judge gpt: position bias: for 30 of 30")
    assert "position bias" in pair_json(found)["not_to_be_relied_on"]
    data = dataclasses.replace(ReportData("w", "r", "now"), judged_pairs=(found,))
    html = render_report(data)
    assert "Answers compared by a judge" in html
    assert "Do not rely on the judge gpt" in html
    assert "Answers compared by a judge" not in render_report(ReportData("w", "r", "now"))


def test_no_clear_preference_is_said_as_that() -> None:
    rows = [Compared(str(i), float(i % 2), float(i % 2), False, 10, 12) for i in range(20)]
    assert judge_sentences(pair(rows))[0].startswith("The judge gpt shows no clear preference")
    assert "compared no answers" in judge_sentences(pair([]))[0]
