"""What a study says: statistics, sentences, JSON and the page."""

import orjson
import pytest

from figa_core.study.reward.data import SeedOutcome, VariantOutcome
from figa_core.study.reward.html import render_reward_study
from figa_core.study.reward.text import lines_of, sentences

from .made import study, variant

OWN, FULL, NOISY = variant("own", 95, 80), variant("full", 90, 79), variant("noise-40", 60, 60)


def test_variants_are_compared_with_the_base_and_with_the_model_of_all_pairs() -> None:
    found = study(OWN, FULL, NOISY)
    assert found.to_base.keys() == {"own", "full", "noise-40"}
    assert found.to_full.keys() == {"own", "noise-40"}
    assert found.to_full["noise-40"].change.mean == pytest.approx(-19)
    assert found.to_full["noise-40"].told_apart
    change = found.to_base["own"]
    alone = change.change.interval()
    assert alone is not None
    assert change.interval is not None
    assert change.interval[0] <= alone[0]
    assert change.interval[1] >= alone[1]


def test_sentences_name_the_best_and_the_worst_with_their_accuracy() -> None:
    first, apart, mistakes, about = sentences(study(OWN, FULL, NOISY))
    assert "with the own one (accuracy 95.0 %" in first
    assert "with the noise-40 one (accuracy 60.0 %" in first
    assert "told apart: the own one" in apart or "told apart: the noise-40 one" in apart
    assert "6.2 %" in mistakes  # 5 of 80
    assert "50.0 %" in mistakes  # 40 of 80
    assert "prompts and seeds" in about


def test_mistakes_that_are_the_same_everywhere_are_said_once() -> None:
    text = [*sentences(study(variant("own", 95, 80), variant("full", 95, 79)))][2]
    assert text.endswith("6.2 % (2.7 to 13.8), with every reward.")


def test_a_single_seed_is_said_to_give_no_interval_over_seeds() -> None:
    one = study(variant("own", 95, 80, seeds=1), variant("full", 90, 70, seeds=1), seeds=(0,))
    assert "With one seed intervals cover prompts only" in [*sentences(one)][-1]
    assert not one.scores["own"].covers_seeds


def test_a_variant_without_trainings_is_a_row_with_its_reason() -> None:
    unable = VariantOutcome("tenth", "a tenth", "few pairs", "run-tenth", unable="filter: keeps nothing")
    failed = VariantOutcome(
        "noise-10", "noisy", "r", "run-n", trainings=(SeedOutcome(0, "t", reason="diverged: at step 3"),)
    )
    found = study(OWN, FULL, unable, failed)
    lines = [*lines_of(found)]
    assert "a tenth: filter: keeps nothing" in lines
    assert "noisy, seed 0: diverged: at step 3" in lines
    assert "tenth" not in found.scores
    page = render_reward_study(found)
    assert "keeps nothing" in page


def test_nothing_judged_is_said() -> None:
    nothing = study(VariantOutcome("own", "own", "r", "run", unable="no"))
    assert [*sentences(nothing)] == ["No training was judged, so nothing can be said of the reward models."]
    assert "No variant has both" in render_reward_study(nothing)


def test_the_json_has_every_figure() -> None:
    found = orjson.loads(orjson.dumps(study(OWN, FULL, NOISY).as_json()))
    noisy = found["variants"][2]
    assert noisy["pairwise_accuracy"]["share"] == 0.6
    assert noisy["score"]["mean"] == pytest.approx(60.05)
    assert len(noisy["score"]["interval"]) == 2
    assert noisy["mistakes"] == {
        "share": 0.5, "interval": noisy["mistakes"]["interval"], "pairs": 80, "left_out": 0
    }  # fmt: skip
    assert noisy["pairs"]["worse"] == 3
    assert noisy["against_all_pairs"]["told_apart"] is True
    assert found["variants"][1]["against_all_pairs"] is None


def test_the_page_is_one_file_with_a_curve_and_escapes_what_is_not_ours() -> None:
    hostile = VariantOutcome("own", "<script>alert(1)</script>", "<img src=x>", "run", unable="<b>no</b>")
    page = render_reward_study(study(hostile, FULL, NOISY))
    assert page == render_reward_study(study(hostile, FULL, NOISY))
    assert "<script>alert" not in page
    assert "<img src" not in page
    assert "pairwise accuracy of the reward, %" in page
    assert "http" not in page.replace("http-equiv", "").replace("https://schema", "")
    assert "reward-accuracy.csv" in page
