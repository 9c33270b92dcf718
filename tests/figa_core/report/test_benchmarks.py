"""The report shows benchmarks beside the base's, with errors, intervals and what a reader must know."""

import dataclasses

from figa_core.harness.results import BenchmarkScore
from figa_core.report.benchmarks import Benchmarks, benchmark_rows, benchmarks_json
from figa_core.report.data import ReportData
from figa_core.report.html import render_report

MANY = tuple(str(i) for i in range(200))
BASE = BenchmarkScore(
    "mmlu",
    "acc",
    "none",
    0.5,
    0.035,
    200,
    200,
    True,
    questions=MANY,
    values=tuple(float(i % 2) for i in range(200)),
)
BETTER = dataclasses.replace(BASE, value=0.9, values=tuple(float(i % 10 > 0) for i in range(200)))
RATIO = BenchmarkScore("own <b>task</b>", "nll", "none", 3.25, None, 20, 900, False)


def benchmarks(**scores: list[BenchmarkScore]) -> Benchmarks:
    rows, labels = benchmark_rows(scores, "base")
    return Benchmarks(rows, labels, "0.4.13", ("vLLM 0.32.0", "as plain text"))


def page(found: Benchmarks) -> str:
    return render_report(dataclasses.replace(ReportData("w", "r", "now"), benchmarks=found))


def test_a_score_stands_beside_the_bases_with_the_interval_of_their_difference() -> None:
    text = page(benchmarks(base=[BASE], FIGA=[BETTER]))
    assert "lm-eval 0.4.13, vLLM 0.32.0, as plain text" in text
    assert "50.0 ± 3.5" in text
    assert "90.0 ± 3.5" in text
    assert "+40.0 (33.2 to 46.8)" in text
    assert "not paired" not in text


def test_what_is_no_share_is_shown_as_it_is_and_marked_if_it_is_not_paired() -> None:
    found = benchmarks(base=[RATIO], FIGA=[dataclasses.replace(RATIO, value=2.75)])
    text = page(found)
    assert "own &lt;b&gt;task&lt;/b&gt;" in text
    assert "lower is better" in text
    assert "−0.500*" in text
    few, cut, unpaired = sorted(found.notes())
    assert few.startswith("Differences with * (in own <b>task</b>)")
    assert cut.startswith("Fewer than 100 questions: own <b>task</b>")
    assert unpaired.startswith("Only some of the questions were asked, the first ones: 20 of 900 of own")


def test_a_figure_between_zero_and_one_is_a_share_only_if_it_looks_like_one() -> None:
    for score, scale in (
        (dataclasses.replace(RATIO, value=0.7), 1.0),
        (dataclasses.replace(RATIO, value=0.7, metric="inst_level_strict_acc"), 100.0),
        (dataclasses.replace(BASE, metric="verifier"), 100.0),
        (dataclasses.replace(BASE, metric="likelihood_diff", values=(0.25, 1.5) * 100), 1.0),
    ):
        [row] = benchmarks(base=[score]).rows
        assert row.scale == scale


def test_a_model_or_a_base_without_a_result_leaves_a_gap_and_is_named() -> None:
    other = dataclasses.replace(BASE, task="gsm8k")
    found = dataclasses.replace(
        benchmarks(base=[BASE], FIGA=[other]), missing={"FIGA": ("mmlu",), "base": ("gsm8k",)}
    )
    assert [(row.task, row.base is None, row.models["FIGA"] is None) for row in found.rows] == [
        ("mmlu", False, True),
        ("gsm8k", True, False),
    ]
    assert all(row.change("FIGA") is None for row in found.rows)
    assert "FIGA has no result of mmlu: the run's last lines say why" in page(found).replace("&#39;", "'")
    nothing = Benchmarks(missing={"base": ("mmlu",)})
    assert "No benchmark has a result yet." in page(nothing)
    assert "Benchmarks" not in page(Benchmarks())


def test_filters_of_one_metric_are_told_apart() -> None:
    strict = dataclasses.replace(BASE, metric="exact_match", filter="strict-match")
    loose = dataclasses.replace(strict, filter="flexible-extract")
    found = benchmarks(base=[BASE, strict, loose])
    assert [row.metric for row in found.rows] == [
        "acc",
        "exact_match (strict-match)",
        "exact_match (flexible-extract)",
    ]


def test_programs_get_lm_evals_own_units() -> None:
    base, figa = benchmarks_json(benchmarks(base=[BASE], FIGA=[BETTER]))
    assert (base["model"], base["score"], "against_base" in base) == ("base", 0.5, False)
    assert (figa["model"], figa["score"], figa["questions"], figa["of"]) == ("FIGA", 0.9, 200, 200)
    assert figa["against_base"] == 0.4
    low, high = figa["interval_95"]
    assert 0.33 < low < 0.4 < high < 0.47
    assert (figa["paired"], figa["lm_eval"]) == (True, "0.4.13")
