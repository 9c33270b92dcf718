"""The plan and the report of `make evidence`."""

import json
from pathlib import Path
from typing import Any

import matplotlib.image as mpimg
import pytest

from figa_core.config.file import load_config
from tests.benchmarks.evidence import SETTINGS
from tests.benchmarks.evidence_page import NOTHING_YET, page, write_report
from tests.benchmarks.evidence_picture import PICTURE, draw
from tests.benchmarks.evidence_plan import EXPERIMENTS, Experiment
from tests.benchmarks.evidence_report import Found, found_in, goals, interval
from tests.benchmarks.evidence_results import KEPT, essence, keep

README = Path(__file__).parents[1] / "figa_core" / "README.md"


def estimate(mean: float, low: float, high: float) -> dict[str, Any]:
    return {"mean": mean, "interval": [low, high]}


def row(name: str, objective: str, score: float, validation: float, judged: list[float]) -> dict[str, Any]:
    return {
        "method": name,
        "objective": objective,
        "pairs": 100,
        "unable": None,
        "learning_rate": 3e-5,
        "score": estimate(score, score - 2, score + 2),
        "spread_over_seeds": 1.0,
        "trainings_below_base": 0,
        "against_base": {"change": estimate(score - 50, score - 52, score - 48)},
        "cost_of_one_training": {"flops": 1e15, "seconds": 60.0},
        "trainings": [
            {
                "learning_rate": 3e-5,
                "validation": validation,
                "judged": value,
                "kl_from_base": None,
                "reason": None,
            }
            for value in judged
        ],
    }


def contrast(one: str, other: str, change: dict[str, Any]) -> dict[str, Any]:
    return {"one": one, "other": other, "pairs": 100, "change": change, "told_apart": False}


def unable(name: str, reason: str) -> dict[str, Any]:
    none = {"mean": None, "interval": None}
    return row(name, "rrhf", 0.0, 0.0, []) | {"score": none, "against_base": None, "unable": reason}


WHOLE: dict[str, Any] = {
    "workspace": "evidence",
    "metric": "verifier",
    "created_at": "2026-11-20 10:00 UTC",
    "validation_prompts": 30,
    "comparisons": 10,
    "base": estimate(50.0, 48.0, 52.0),
    "rows": [
        row("FIGA (default)", "figa", 60.0, 61.0, [49.0, 71.0]),
        row("FIGA, γ 1", "figa", 58.0, 70.0, [58.0]),
        row("SFT on Y", "sft", 55.0, 80.0, [55.0]),
        row("SFT on Ỹ", "sft_revised", 59.0, 80.0, [59.0]),
        unable("RRHF", "there are only 90 pairs"),
    ],
    "contrasts": [
        contrast("SFT on Y", "FIGA, γ 1", estimate(-3.5, -6.0, -1.0)),
        contrast("FIGA, γ 1", "SFT on Ỹ", estimate(-1.0, -2.0, 0.5)),
    ],
    "by_type": {"100": {"short": {"base": estimate(40.0, 30.0, 50.0)}}},
}
FOUND = Found("structured", essence(WHOLE))
EXPERIMENT = Experiment("structured", "structured", 10, {})


def test_the_settings_of_every_experiment_are_valid_and_fixed_by_its_domain() -> None:
    for experiment in EXPERIMENTS:
        config = load_config(SETTINGS, experiment.overrides)
        assert config.evaluation.verifier == f"figa_core.domains.{experiment.domain}:verify"
        assert len(config.compare.methods) > 3


def test_the_variant_that_stands_for_the_method_is_chosen_on_validation_not_by_its_score() -> None:
    best = FOUND.best_on_validation
    assert best is not None
    assert best["method"] == "FIGA, γ 1"


def test_goals_are_read_from_the_paired_differences_whichever_way_round_they_are() -> None:
    default, against_y, against_revised = goals([FOUND])
    assert "below its base in 1 trainings; the lowest of 2 is 49.0" in default
    assert "against SFT on Y: +3.5 (1.0 to 6.0) (goal +3.2: reached)" in against_y
    assert "against SFT on Ỹ: -1.0 (-2.0 to 0.5) (goal above zero: missed)" in against_revised


def test_ppo_is_held_to_the_default_s_score_and_its_flops() -> None:
    rows = [row("FIGA (default)", "figa", 60.0, 61.0, [60.0]), row("PPO", "ppo", 58.0, 58.0, [58.0])]
    contrasts = [contrast("PPO", "FIGA (default)", estimate(-2.0, -4.0, -0.5))]
    reinforced = Found("support-rl", essence(WHOLE | {"rows": rows, "contrasts": contrasts}))
    (same_cost,) = goals([reinforced])
    assert "against PPO: +2.0 (0.5 to 4.0) at 1.00 of its FLOPs" in same_cost
    assert "(goal +1.8 at 0.2 or less: missed)" in same_cost
    reinforced.content["rows"][1]["flops"] = 5e15
    (cheap,) = goals([reinforced])
    assert "at 0.20 of its FLOPs (goal +1.8 at 0.2 or less: reached)" in cheap


def test_the_picture_has_a_panel_for_each_domain_and_none_for_anything_else(tmp_path: Path) -> None:
    path = tmp_path / PICTURE
    assert draw([Found("structured-anchors", FOUND.content)], path) is None
    assert draw([FOUND], path) == path
    one = mpimg.imread(path)
    assert draw([FOUND, Found("support", FOUND.content)], path) == path
    assert mpimg.imread(path).shape[1] == 2 * one.shape[1]


def test_a_kept_result_draws_the_same_page_as_the_whole_file(tmp_path: Path) -> None:
    measured, kept = tmp_path / "measured", tmp_path / "kept"
    measured.mkdir()
    noisy = row("FIGA, γ 0", "figa", 100 / 3, 200 / 7, [100 / 3, 33.123456789])
    (measured / "structured.json").write_text(json.dumps(WHOLE | {"rows": [*WHOLE["rows"], noisy]}))
    path = keep(measured / "structured.json", kept)
    (whole,) = found_in(measured, [EXPERIMENT], tmp_path / "none")
    (small,) = found_in(tmp_path / "none", [EXPERIMENT], kept)
    assert page([small], tmp_path) == page([whole], tmp_path)
    assert goals([small]) == goals([whole]) != []
    assert "workspace" not in path.read_text(encoding="utf-8")


def test_the_newer_of_a_measured_and_a_kept_result_is_shown(tmp_path: Path) -> None:
    measured, kept = tmp_path / "measured", tmp_path / "kept"
    measured.mkdir()
    own = measured / "structured.json"
    for date, shown in (("2026-11-19", "2026-11-20 10:00 UTC"), ("2026-11-21", "2026-11-21")):
        own.write_text(json.dumps(WHOLE))
        keep(own, kept)
        own.write_text(json.dumps(WHOLE | {"created_at": date}))
        (found,) = found_in(measured, [EXPERIMENT], kept)
        assert found.content["created_at"] == shown


def test_every_kept_result_is_small_and_is_one_of_a_planned_comparison() -> None:
    paths = sorted(KEPT.glob("*.json"))
    assert "support.json" in [path.name for path in paths]
    assert {path.stem for path in paths} <= {experiment.name for experiment in EXPERIMENTS}
    assert max(path.stat().st_size for path in paths) <= 150_000
    found = found_in(KEPT / "none", EXPERIMENTS)
    assert all(each.rows and page([each], KEPT) for each in found)


@pytest.mark.parametrize("domain", ["support", "structured"])
def test_the_tables_of_the_readme_have_the_figures_that_are_kept(domain: str) -> None:
    """A row of the README: method, rate, score, against SFT on Y, against SFT on Ỹ, KL, a count, FLOPs."""
    kept = next(each for each in found_in(KEPT / "none", EXPERIMENTS) if each.name == domain)
    section = README.read_text(encoding="utf-8").partition("### The methods on a real model")[2]
    table = (
        section.partition("\n### ")[0]
        .partition(f"omain `{domain}`")[2]
        .partition("\n|")[2]
        .partition("\n\n")[0]
    )
    lines = [line.strip("|").split("|") for line in table.splitlines()][2:]
    for line, each in zip(lines, kept.rows, strict=True):
        _, rate, score, *against, drift, _, flops = (
            cell.strip().replace("*", "").replace("−", "-").replace("+", "") for cell in line
        )
        assert (float(rate), drift) == (each["learning_rate"], f"{each['kl_from_base']:.2f}")
        assert float(flops) == pytest.approx(each["flops"], rel=0.04)
        assert score == interval(each["score"])
        assert against == [interval(kept.against(each, other)) for other in ("SFT on Y", "SFT on Ỹ")]


def test_the_report_has_every_comparison_that_was_run_and_links_to_those_of_this_machine(
    tmp_path: Path,
) -> None:
    newer = WHOLE | {"created_at": "9999-12-31 10:00 UTC"}  # than what is kept
    (tmp_path / "structured.json").write_text(json.dumps(newer))
    (tmp_path / "structured.html").touch()
    text = write_report(tmp_path, EXPERIMENTS).read_text(encoding="utf-8")
    assert "FIGA, γ 1" in text
    assert "40.0 (30.0 to 50.0)" in text
    assert "Without a score: RRHF, 100 pairs: there are only 90 pairs" in text
    assert 'href="structured.html"' in text
    assert '<section id="support">' in text
    assert 'href="support.html"' not in text
    assert (tmp_path / PICTURE).exists()
    both = mpimg.imread(tmp_path / PICTURE)
    assert both.shape[1] == 920  # a panel for structured, and one for the kept support


def test_the_page_says_so_if_nothing_was_compared(tmp_path: Path) -> None:
    assert NOTHING_YET in page([], tmp_path)
