"""The plan and the report of `make evidence`."""

import json
from pathlib import Path
from typing import Any

import matplotlib.image as mpimg

from figa_core.config.file import load_config
from tests.benchmarks.evidence import SETTINGS
from tests.benchmarks.evidence_picture import PICTURE, draw
from tests.benchmarks.evidence_plan import EXPERIMENTS, Experiment
from tests.benchmarks.evidence_report import Found, chosen_on_validation, found_in, goals, write_report


def estimate(mean: float, low: float, high: float) -> dict[str, Any]:
    return {"mean": mean, "interval": [low, high]}


def row(name: str, objective: str, score: float, validation: float, judged: list[float]) -> dict[str, Any]:
    return {
        "method": name,
        "objective": objective,
        "pairs": 100,
        "learning_rate": 3e-5,
        "score": estimate(score, score - 2, score + 2),
        "spread_over_seeds": 1.0,
        "trainings_below_base": 0,
        "against_base": {"change": estimate(score - 50, score - 52, score - 48)},
        "cost_of_one_training": {"flops": 1e15, "seconds": 60.0},
        "trainings": [
            {"learning_rate": 3e-5, "validation": validation, "judged": value, "kl_from_base": None}
            for value in judged
        ],
    }


def contrast(one: str, other: str, change: dict[str, Any]) -> dict[str, Any]:
    return {"one": one, "other": other, "pairs": 100, "change": change}


FOUND = Found(
    "structured",
    {
        "metric": "verifier",
        "base": estimate(50.0, 48.0, 52.0),
        "rows": [
            row("FIGA (default)", "figa", 60.0, 61.0, [49.0, 71.0]),
            row("FIGA, γ 1", "figa", 58.0, 70.0, [58.0]),
            row("SFT on Y", "sft", 55.0, 80.0, [55.0]),
            row("SFT on Ỹ", "sft_revised", 59.0, 80.0, [59.0]),
        ],
        "contrasts": [
            contrast("SFT on Y", "FIGA, γ 1", estimate(-3.5, -6.0, -1.0)),
            contrast("FIGA, γ 1", "SFT on Ỹ", estimate(-1.0, -2.0, 0.5)),
        ],
        "by_type": {"100": {"short": {"base": estimate(40.0, 30.0, 50.0)}}},
    },
)


def test_the_settings_of_every_experiment_are_valid_and_fixed_by_its_domain() -> None:
    for experiment in EXPERIMENTS:
        config = load_config(SETTINGS, experiment.overrides)
        assert config.evaluation.verifier == f"figa_core.domains.{experiment.domain}:verify"
        assert len(config.compare.methods) > 3


def test_the_variant_that_stands_for_the_method_is_chosen_on_validation_not_by_its_score() -> None:
    best = chosen_on_validation(FOUND)
    assert best is not None
    assert best["method"] == "FIGA, γ 1"


def test_goals_are_read_from_the_paired_differences_whichever_way_round_they_are() -> None:
    default, against_y, against_revised = goals([FOUND])
    assert "below its base in 1 trainings; the lowest of 2 is 49.0" in default
    assert "against SFT on Y: +3.5 (1.0 to 6.0) (goal +3.2: reached)" in against_y
    assert "against SFT on Ỹ: -1.0 (-2.0 to 0.5) (goal above zero: missed)" in against_revised


def test_ppo_is_held_to_the_default_s_score_and_its_flops() -> None:
    reinforced = Found(
        "support-rl",
        FOUND.content
        | {
            "rows": [
                row("FIGA (default)", "figa", 60.0, 61.0, [60.0]),
                row("PPO", "ppo", 58.0, 58.0, [58.0]),
            ],
            "contrasts": [contrast("PPO", "FIGA (default)", estimate(-2.0, -4.0, -0.5))],
        },
    )
    (same_cost,) = goals([reinforced])
    assert "against PPO: +2.0 (0.5 to 4.0) at 1.00 of its FLOPs" in same_cost
    assert "(goal +1.8 at 0.2 or less: missed)" in same_cost
    reinforced.content["rows"][1]["cost_of_one_training"]["flops"] = 5e15
    (cheap,) = goals([reinforced])
    assert "at 0.20 of its FLOPs (goal +1.8 at 0.2 or less: reached)" in cheap


def test_the_picture_has_a_panel_for_each_domain_and_none_for_anything_else(tmp_path: Path) -> None:
    path = tmp_path / PICTURE
    assert draw([Found("structured-anchors", FOUND.content)], path) is None
    assert draw([FOUND], path) == path
    one = mpimg.imread(path)
    assert draw([FOUND, Found("support", FOUND.content)], path) == path
    assert mpimg.imread(path).shape[1] == 2 * one.shape[1]


def test_the_report_has_every_comparison_that_was_run(tmp_path: Path) -> None:
    experiments = [Experiment("structured", "structured", 10, {}), Experiment("code", "code", 10, {})]
    (tmp_path / "structured.json").write_text(json.dumps(FOUND.content))
    assert [each.name for each in found_in(tmp_path, experiments)] == ["structured"]
    page = write_report(tmp_path, experiments).read_text(encoding="utf-8")
    assert "FIGA, γ 1" in page
    assert "40.0 (30.0 to 50.0)" in page
    assert 'href="structured.html"' in page
    assert f'src="{PICTURE}"' in page
    assert (tmp_path / PICTURE).exists()
