"""The sentences report what the numbers show, even if that is unwelcome."""

import dataclasses
import math
from collections.abc import Callable

import pytest

from figa_core.report.comparison import Metric, by_type, compare, moved_prompts, number, spread_prompts
from figa_core.report.data import ModelChange, ModelScores, ReportData
from figa_core.report.sentences import comparison_sentences, result_sentence, verdict_sentences

EMPTY = ReportData(workspace="w", run_id="r", created_at="now")


def scores(label: str, *values: float, metric: Metric = Metric.VERIFIER) -> ModelScores:
    found = {f"p{i}": value for i, value in enumerate(values)}
    return ModelScores(label, {}, found) if metric is Metric.VERIFIER else ModelScores(label, found)


def run(base: ModelScores | None, main: ModelScores | None, *baselines: ModelScores) -> ReportData:
    return dataclasses.replace(EMPTY, base=base, main=main, baselines=baselines)


def test_a_gain_is_reported_with_its_interval() -> None:
    # differences 0.08, 0.10, 0.12: mean 0.1, s 0.02, t(0.975, 2) = 4.303, half width 0.0497
    data = run(scores("base", 0.70, 0.80, 0.90), scores("FIGA", 0.78, 0.90, 1.02))
    assert result_sentence(data) == (
        "FIGA raised the verifier's mean score from 80.0 to 90.0 of 100 "
        "(+10.0, 95 % CI 5.0 to 15.0, n = 3 held-out prompts)."
    )


def test_a_loss_is_reported_as_a_loss() -> None:
    data = run(scores("base", 0.78, 0.90, 1.02), scores("FIGA", 0.70, 0.80, 0.90))
    assert (
        "FIGA lowered the verifier's mean score from 90.0 to 80.0 of 100 (−10.0, 95 % CI −15.0 to −5.0"
        in (result_sentence(data))
    )


def test_a_chance_difference_is_not_called_a_gain() -> None:
    sentence = result_sentence(run(scores("base", 0.5, 0.9, 0.4), scores("FIGA", 0.9, 0.5, 0.45)))
    assert sentence.startswith(
        "FIGA made no clear difference: the verifier's mean score went from 60.0 to 61.7 of 100"
    )
    assert sentence.endswith("which chance alone could explain.")


def test_one_prompt_is_too_few_to_judge_by() -> None:
    sentence = result_sentence(run(scores("base", 0.5), scores("FIGA", 0.9)))
    assert "(+40.0, no interval from one prompt, n = 1 held-out prompt), which is too few" in sentence


def test_without_a_verifier_the_reward_is_reported() -> None:
    reward = Metric.REWARD
    data = run(scores("base", -1, 0, 1, metric=reward), scores("FIGA", 0.5, 1.6, 2.4, metric=reward))
    assert result_sentence(data).startswith("FIGA raised the mean reward from 0.00 to 1.50 (+1.50, 95 % CI ")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (EMPTY, "No model has been trained"),
        (
            dataclasses.replace(EMPTY, unjudged="FIGA"),
            "FIGA was trained but cannot be judged: no prompt was held out",
        ),
        (run(None, scores("FIGA", 1.0)), "base model was not evaluated"),
        (run(scores("base"), scores("FIGA")), "share no scored held-out prompts"),
    ],
)
def test_missing_parts_are_named(data: ReportData, words: str) -> None:
    assert words in result_sentence(data)


def test_prompts_of_only_one_model_are_left_out_and_counted() -> None:
    base, main = (
        ModelScores("base", {"a": 1.0, "b": 2.0, "c": 3.0}),
        ModelScores("FIGA", {"b": 3.0, "c": 4.0, "d": 9.0}),
    )
    comparison = compare(run(base, main))
    row = comparison.rows[1]
    assert row.to_base[Metric.REWARD].change.mean == 1.0
    assert row.to_base[Metric.REWARD].change.n == 2
    assert row.estimates[Metric.REWARD].n == 3
    assert comparison.left_out == 2
    assert comparison.metrics == (Metric.REWARD,)


def test_scores_that_are_not_finite_are_counted() -> None:
    base = ModelScores("base", {"a": 1.0, "b": math.nan, "c": 2.0})
    comparison = compare(run(base, ModelScores("FIGA", {"a": 2.0, "b": 3.0, "c": math.inf})))
    assert comparison.not_finite == 2
    assert comparison.rows[1].to_base[Metric.REWARD].change.n == 1


def test_baselines_are_ahead_behind_or_indistinguishable() -> None:
    main = scores("FIGA", 0.70, 0.80, 0.90)
    better = scores("SFT", 0.79, 0.90, 1.01)
    worse = scores("other", 0.61, 0.70, 0.79)
    same = scores("twin", 0.80, 0.70, 0.90)
    lines = comparison_sentences(run(None, main, better, worse, same))
    assert lines[0].startswith("FIGA is behind SFT by 10.0 points of the verifier (95 % CI −")
    assert lines[1].startswith("FIGA is ahead of other by 10.0 points of the verifier (95 % CI ")
    assert lines[2].startswith("FIGA and twin cannot be told apart: 0.0 points")


def test_disagreement_of_the_judges_is_reported(make_scores: Callable[..., ModelScores]) -> None:
    data = run(make_scores("base", 0.8, 0.0, seed=1), make_scores("FIGA", 0.7, 2.0, seed=2))
    assert comparison_sentences(data) == [
        "Beware: the mean reward score rose while the mean verifier score fell; the training over-optimised "
        "the reward."
    ]
    data = run(make_scores("base", 0.7, 2.0, seed=1), make_scores("FIGA", 0.8, 0.0, seed=2))
    assert comparison_sentences(data) == [
        "Beware: the mean verifier score rose while the mean reward score fell; the two judges disagree."
    ]


def test_prompts_are_spread_over_the_changes_with_both_ends() -> None:
    base = ModelScores("base", {f"p{i}": 0.0 for i in range(9)})
    main = ModelScores("FIGA", {f"p{i}": float(i) for i in (3, 8, 1, 0, 2, 5, 4, 7, 6)} | {"other": 99.0})
    spread = spread_prompts(base, main, Metric.REWARD, 3)
    assert spread == ["p0", "p4", "p8"]
    assert spread_prompts(base, main, Metric.REWARD, 20) == [f"p{i}" for i in range(9)]
    assert spread_prompts(base, main, Metric.REWARD, 1) == ["p0"]
    assert spread_prompts(base, main, Metric.VERIFIER, 3) == []


def test_prompts_that_got_better_stayed_or_got_worse_are_counted() -> None:
    base, main = scores("base", 0.5, 0.5, 0.5, 0.5, 0.5), scores("FIGA", 0.6, 0.8, 0.5, 0.1)
    assert moved_prompts(base, main, Metric.VERIFIER) == (2, 1, 1)
    assert moved_prompts(base, main, Metric.REWARD) == (0, 0, 0)


def test_types_of_prompts_are_compared_by_the_judge_the_most_prompts_first() -> None:
    base, main = scores("base", 0.5, 0.5, 0.5, 0.5, 0.5), scores("FIGA", 0.6, 0.8, 0.4, 0.9, 0.1)
    data = dataclasses.replace(run(base, main), types={"p0": "a", "p1": "b", "p2": "b", "p3": "b"})
    found = [(row.type, row.found.change.n, row.found.change.mean) for row in by_type(data)]
    assert found == [("b", 3, pytest.approx(20.0)), ("a", 1, pytest.approx(10.0))]
    assert by_type(dataclasses.replace(data, types={"p0": "a"})) == []
    assert by_type(run(None, main)) == []


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (1234.56, False, "1,234.6"),
        (-0.04, True, "0.0"),
        (-2.0, False, "−2.0"),
        (2.0, True, "+2.0"),
        (None, True, "–"),
    ],
)
def test_numbers_have_true_minus_signs_and_no_negative_zero(
    value: float | None, signed: bool, text: str
) -> None:
    assert number(value, 1, signed=signed) == text


def trained(label: str, *values: float, change: ModelChange | None = None, identity: str = "") -> ModelScores:
    found = scores(label, *values)
    return dataclasses.replace(found, change=change, identity=identity or label)


BASE = trained("base", 0.1, 0.5, 0.9)
CHANGED = ModelChange(updates=10, steps=10, relative=0.01, same=1, compared=10)


def test_a_model_with_the_bases_weights_is_called_unchanged() -> None:
    """Its scores differ by chance, even clearly: that is not a gain."""
    change = ModelChange(updates=10, steps=10, relative=0.0)
    data = run(BASE, trained("FIGA", 0.2, 0.6, 1.01, change=change, identity="base"))
    assert result_sentence(data) == (
        "FIGA is the base model, unchanged: their weights are equal, value by value. Differences "
        "between their scores are chance."
    )
    assert comparison_sentences(data) == []


def test_a_training_without_an_update_is_reported() -> None:
    change = ModelChange(updates=0, steps=12, relative=0.0)
    data = run(BASE, trained("FIGA", 0.2, 0.6, 1.01, change=change, identity="base"))
    assert "FIGA is the base model, unchanged: none of its 12 steps made an update." in result_sentence(data)


def test_two_models_with_the_same_weights_are_called_the_same() -> None:
    main = trained("FIGA", 0.2, 0.6, 1.0, change=CHANGED, identity="one")
    twin = trained("SFT", 0.3, 0.5, 1.0, change=CHANGED, identity="one")
    unchanged = trained("SFT on Y", 0.1, 0.5, 0.9, change=ModelChange(0, 3, relative=0.0), identity="base")
    assert comparison_sentences(run(BASE, main, twin)) == [
        "FIGA and SFT are the same model: their weights are equal, value by value."
    ]
    lines = comparison_sentences(run(BASE, main, unchanged))
    assert lines[1].startswith("SFT on Y is the base model, unchanged: none of its 3 steps")


def test_models_with_unknown_weights_are_compared_by_their_scores() -> None:
    assert "made no clear difference" in result_sentence(run(scores("base", 0.1, 0.2), scores("F", 0.1, 0.2)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ModelChange(3, 3, relative=1.234e-6, same=48, compared=50),
            "FIGA changed almost nothing: its weights moved by 0.00012 % and 48 of 50 held-out responses are "
            "the base's, word for word.",
        ),
        (ModelChange(3, 3, relative=1e-6), "FIGA changed almost nothing: its weights moved by 0.0001 %."),
        (
            ModelChange(6, 10, overflowed=4, relative=0.01, compared=5),
            "Beware: 4 of 10 updates of FIGA were left out, because the gradient was not finite.",
        ),
        (
            ModelChange(
                9, 9, relative=0.02, compared=5, dtype="bfloat16", base_dtype="float32", rounding=0.0017
            ),
            "Beware: FIGA was judged in bfloat16, the base in float32, and part of the difference may come "
            "from that: rounding alone moves weights by 0.17 %, with the training it is 2 %.",
        ),
    ],
)
def test_small_effects_of_a_training_are_reported_with_figures(change: ModelChange, words: str) -> None:
    lines = comparison_sentences(run(BASE, trained("FIGA", 0.1, 0.5, 0.9, change=change)))
    assert len(lines) == 1
    assert words in lines[0]


def test_a_training_that_changed_a_lot_needs_no_remark() -> None:
    change = dataclasses.replace(CHANGED, dtype="float32", base_dtype="float32")
    assert comparison_sentences(run(BASE, trained("FIGA", 0.2, 0.6, 1.0, change=change))) == []


WORSE = dataclasses.replace(scores("FIGA", 0.0, 0.31, 0.6), directory="/w/trainings/t/model")
JUDGED_BASE = scores("base", 0.5, 0.8, 1.1)


def test_a_worse_model_is_not_to_be_used_and_its_directory_is_named() -> None:
    assert verdict_sentences(run(JUDGED_BASE, WORSE)) == [
        "Verdict: worse: do not use FIGA (/w/trainings/t/model). It is worse than its base by the verifier."
    ]


def test_each_baseline_has_a_verdict_of_its_own_after_the_main_model() -> None:
    better, same = scores("SFT", 0.6, 0.91, 1.2), scores("twin", 0.8, 0.5, 1.1)
    assert verdict_sentences(run(JUDGED_BASE, better, same, WORSE))[:2] == [
        "Verdict: SFT is better than its base by the verifier.",
        "Verdict: no difference between twin and its base was shown by the verifier.",
    ]
    assert verdict_sentences(run(JUDGED_BASE, better, same, WORSE))[2].startswith(
        "Verdict: worse: do not use"
    )


def test_a_model_that_only_pleases_the_reward_is_called_over_optimised() -> None:
    base = dataclasses.replace(JUDGED_BASE, rewards={"p0": 0.0, "p1": 0.1, "p2": 0.2})
    main = dataclasses.replace(WORSE, rewards={"p0": 1.0, "p1": 1.2, "p2": 1.2})
    [sentence] = verdict_sentences(run(base, main))
    assert sentence.endswith("By the reward it is better: the training over-optimised the reward.")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (run(None, WORSE), "FIGA was not judged, because the base model was not."),
        (
            run(scores("base", 0.5), scores("FIGA", 0.1)),
            "because one held-out prompt has a score of the verif",
        ),
        (
            run(scores("base"), scores("FIGA")),
            "because no held-out prompt has a score for both it and its base",
        ),
        (
            dataclasses.replace(EMPTY, unjudged="FIGA"),
            "Verdict: FIGA was not judged, because no prompt was held out.",
        ),
        (run(BASE, trained("FIGA", 0.0, 0.1, 0.2, identity="base")), "Verdict: FIGA is its base, unchanged."),
    ],
)
def test_a_model_without_a_verdict_says_why(data: ReportData, words: str) -> None:
    assert words in verdict_sentences(data)[0]


def test_a_run_without_a_trained_model_has_no_verdict() -> None:
    assert verdict_sentences(EMPTY) == verdict_sentences(run(JUDGED_BASE, None)) == []


def test_scores_that_are_not_numbers_are_in_no_verdict() -> None:
    base, main = scores("base", 0.5, 0.8, math.nan), scores("FIGA", 0.4, math.nan, 0.9)
    assert "one held-out prompt has a score" in verdict_sentences(run(base, main))[0]
