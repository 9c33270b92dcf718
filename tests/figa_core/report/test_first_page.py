"""The four sentences of the first page are right whatever the run has, or lacks."""

import dataclasses
from typing import Any

import pytest

from figa_core.evaluation.preference import Compared, preference
from figa_core.report.data import (
    JudgedPair,
    ModelChange,
    ModelScores,
    ReportData,
    RevisionCalls,
    Spending,
    TrainingCurve,
)
from figa_core.report.first_page import FEW_PROMPTS, doubts, first_page, run_verdict

EMPTY = ReportData(workspace="w", run_id="r", created_at="now")
TRAINED = TrainingCurve("FIGA", (1, 2), {"loss": (1.0, 0.5)}, seconds=1380.0)
SCATTER = (-0.01, 0.0, 0.01, 0.0)


def scores(label: str, mean: float, *, reward: float | None = None, n: int = 200) -> ModelScores:
    """`n` prompts whose scores scatter a little around the mean."""
    shift = len(label)  # models scatter differently
    verifier = {f"p{i}": mean + SCATTER[(i + i // shift) % 4] for i in range(n)}
    rewards = {} if reward is None else {f"p{i}": reward + SCATTER[(i + shift) % 4] for i in range(n)}
    return ModelScores(label, rewards, verifier)


def by_reward(label: str, mean: float, *, n: int = 200) -> ModelScores:
    return dataclasses.replace(scores(label, 0.0, reward=mean, n=n), verifier={})


def run(
    base: ModelScores | None, main: ModelScores | None, *baselines: ModelScores, **more: Any
) -> ReportData:
    more = {"curves": (TRAINED,)} | more
    return dataclasses.replace(EMPTY, base=base, main=main, baselines=baselines, **more)


BASE, BETTER = scores("base", 0.7), scores("FIGA", 0.8)


def sentences(data: ReportData) -> dict[str, str]:
    return dict(first_page(data))


def better(data: ReportData) -> str:
    return sentences(data)["Is it better?"]


def much(data: ReportData) -> str:
    return sentences(data)["By how much?"]


def cost(data: ReportData) -> str:
    return sentences(data)["At what cost?"]


def trust(data: ReportData) -> str:
    return sentences(data)["Can I trust it?"]


def test_a_better_model_is_called_better_by_its_judge_with_figures_and_what_they_rest_on() -> None:
    data = run(BASE, BETTER)
    assert better(data) == "Yes: FIGA is better than its base by the verifier."
    assert much(data).startswith(
        "FIGA raised the verifier's mean score from 70.0 to 80.0 of 100 (+10.0, 95 % CI "
    )
    assert much(data).endswith("n = 200 held-out prompts).")
    assert trust(data) == (
        "Yes, as far as one training shows: its judge, the verifier, had no part in the training, "
        "200 held-out prompts were compared, and no alarm was raised."
    )


def test_its_place_among_the_models_that_it_is_compared_with_is_named() -> None:
    twin = scores("twin", 0.8)
    others = scores("A", 0.75), scores("B", 0.6), scores("SFT", 0.9), twin
    assert better(run(BASE, BETTER, *others)) == (
        "Yes: FIGA is better than its base by the verifier; it is ahead of A and B, behind SFT, and not told "
        "apart from twin."
    )
    same = dataclasses.replace(twin, identity="x")
    data = run(BASE, dataclasses.replace(BETTER, identity="x"), same, scores("elsewhere", 0.5, n=0))
    assert better(data).endswith("; it is the same model as twin, and not compared with elsewhere.")


def test_a_worse_model_is_not_to_be_used_and_a_reward_that_likes_it_is_named() -> None:
    worse = scores("FIGA", 0.6)
    assert better(run(BASE, worse)) == "No: FIGA is worse than its base by the verifier: do not use it."
    assert "FIGA lowered the verifier's mean score from 70.0 to 60.0" in much(run(BASE, worse))
    trapped = run(scores("base", 0.7, reward=1.0), scores("FIGA", 0.6, reward=2.0))
    assert better(trapped).endswith(": do not use it, although it is better by the reward.")
    beside = run(BASE, worse, scores("SFT", 0.9))
    assert better(beside).endswith("by the verifier: do not use it; it is behind SFT.")
    assert trust(trapped) == (
        "With care: the mean reward score rose while the mean verifier score fell: the training "
        "over-optimised the reward."
    )


def test_an_interval_over_zero_is_no_answer() -> None:
    data = run(BASE, scores("FIGA", 0.7))
    assert better(data) == "Not shown: no difference between FIGA and its base was shown by the verifier."
    assert "made no clear difference" in much(data)


def test_an_unchanged_model_is_not_better() -> None:
    base, main = (dataclasses.replace(model, identity="x") for model in (BASE, BETTER))
    assert better(run(base, main)) == "No: FIGA is its base, unchanged."
    assert "Differences between their scores are chance." in much(run(base, main))


@pytest.mark.parametrize("chosen", [True, False])
def test_without_a_verifier_the_reward_judges_and_it_is_said_if_it_chose_the_pairs(chosen: bool) -> None:
    data = run(by_reward("base", 1.0), by_reward("FIGA", 2.0), judge_chose_pairs=chosen)
    assert better(data) == "Yes: FIGA is better than its base by the reward."
    if chosen:
        assert trust(data) == "With care: its judge is the reward that also chose the pairs trained on."
    else:
        assert "its judge, the reward, chose none of the pairs of the training" in trust(data)


@pytest.mark.parametrize(
    ("data", "answer", "amount"),
    [
        (EMPTY, "Not known: no model has been trained in this run yet.", "Nothing was compared."),
        (
            dataclasses.replace(EMPTY, dataset_only=True),
            "Not known: this run was asked for training pairs only.",
            "Nothing was compared.",
        ),
        (
            dataclasses.replace(EMPTY, failure="step 7: loss is not finite"),
            "Not known: the run failed before a model was judged (step 7: loss is not finite).",
            "Nothing was compared.",
        ),
        (
            run(None, None),
            "Not known: FIGA was trained and has not been judged yet.",
            "Nothing was compared.",
        ),
        (
            run(None, None, curves=(dataclasses.replace(TRAINED, seconds=None),)),
            "Not known: the training of FIGA has begun and has not finished.",
            "Nothing was compared.",
        ),
        (
            dataclasses.replace(EMPTY, unjudged="FIGA"),
            "Not known: no prompt was held out to judge FIGA on.",
            "Nothing was compared: hold prompts out (prompts.held_out_share), or give more of them.",
        ),
        (
            run(None, BETTER),
            "Not known: FIGA was not judged, because the base model was not.",
            "FIGA was trained, but the base model was not evaluated: no comparison is possible.",
        ),
        (
            run(scores("base", 0.7, n=1), scores("FIGA", 0.8, n=1)),
            "Not known: FIGA was not judged, because one held-out prompt has a score of the verifier for "
            "both it and its base.",
            "FIGA made no clear difference: the verifier's mean score went from 69.0 to 79.0 of 100 (+10.0, "
            "no interval from one prompt, n = 1 held-out prompt), which is too few prompts to judge by.",
        ),
    ],
)
def test_without_a_comparison_it_is_said_why(data: ReportData, answer: str, amount: str) -> None:
    assert (better(data), much(data)) == (answer, amount)
    assert trust(data) == "There is no result to trust yet."


def spending(**fields: Any) -> ReportData:
    return run(BASE, BETTER, spending=Spending(**fields))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (EMPTY, "No call to a language model, and no training; "),
        (spending(), "No call to a language model, and 23 min 0 s of training; "),
        (
            spending(calls=1, tokens=900, unpriced=1),
            "1 call to language models (900 tokens) at no known price, and 23 min",
        ),
        (
            spending(usd=1.2, estimated_usd=0.0, calls=1519, tokens=602_477),
            "$1.20 for 1,519 calls to language models (602,477 tokens), and 23 min",
        ),
        (
            spending(usd=1.2, estimated_usd=0.1, calls=10, tokens=9, unpriced=3),
            "At least $1.20 ($0.10 of it estimated) for 10 calls to language models (9 tokens), 3 of them at "
            "no known price, and 23 min",
        ),
        (
            run(BASE, BETTER, curves=(TRAINED, TrainingCurve("SFT", (1,), {}, seconds=60.0))),
            "and 24 min 0 s of training, 23 min 0 s of it for FIGA; ",
        ),
        (
            run(BASE, BETTER, curves=(TRAINED, TrainingCurve("SFT", (1,), {}))),
            "and 23 min 0 s of training, without what has not finished; ",
        ),
        (
            run(None, None, curves=(TrainingCurve("FIGA", (1,), {}),)),
            "and a training that has not finished; ",
        ),
    ],
)
def test_the_cost_is_money_tokens_and_hours_as_far_as_they_are_known(data: ReportData, words: str) -> None:
    assert words in cost(data)
    assert cost(data).endswith("; drawing and scoring answers is not counted.")


def test_an_alarm_and_the_training_that_it_ended_are_held_against_the_result() -> None:
    alarms = {"FIGA": ("the KL divergence is 2", "answers run on"), "SFT": ("not about FIGA",)}
    assert trust(run(BASE, BETTER, alarms=alarms)) == "With care: 2 alarms were raised about FIGA."
    ended = run(BASE, BETTER, alarms=alarms, curves=(dataclasses.replace(TRAINED, ended_by="kl from base"),))
    assert trust(ended) == "With care: an alarm ended the training early (kl from base)."
    unjudged = dataclasses.replace(EMPTY, unjudged="FIGA", alarms=alarms)
    assert trust(unjudged) == "There is no result to trust yet, and: 2 alarms were raised about FIGA."


def test_few_prompts_and_prompts_without_a_score_are_named() -> None:
    few = FEW_PROMPTS - 1
    assert trust(run(scores("base", 0.7, n=few), BETTER)) == (
        "With care: only 99 held-out prompts were compared; 50 % of the held-out prompts lack a score of one "
        "of the two models."
    )
    assert trust(run(scores("base", 0.7, n=FEW_PROMPTS), scores("FIGA", 0.8, n=FEW_PROMPTS))).startswith(
        "Yes"
    )
    assert trust(run(scores("base", 0.7, n=191), BETTER)).startswith("Yes"), "4.5 % are not worth a word"


def test_several_comparisons_are_said_to_be_uncorrected() -> None:
    assert trust(run(BASE, BETTER, scores("SFT", 0.9))) == (
        "With care: the intervals of the 3 comparisons of models are not corrected for their number."
    )


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ({"succeeded": 90, "unchanged: the reviser found nothing to change": 10}, ""),
        ({"succeeded": 96, "refused": 4}, ""),
        (
            {"succeeded": 80, "refused": 5, "failed: timeout": 15},
            "20 % of the rows to revise have no usable revision",
        ),
    ],
)
def test_rows_without_a_revision_are_held_against_the_result(outcomes: dict[str, int], said: str) -> None:
    calls = RevisionCalls("teacher", 100, outcomes)
    data = run(BASE, BETTER, revision_calls=calls)
    assert doubts(data, run_verdict(data)) == ([said] if said else [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (ModelChange(9, 9, relative=0.02), []),
        (ModelChange(9, 9, relative=1e-6), ["the training changed almost nothing"]),
        (ModelChange(6, 9, overflowed=3), ["3 of 9 updates were left out, not being finite"]),
        (
            ModelChange(9, 9, dtype="bfloat16", base_dtype="float32"),
            ["it was judged in bfloat16 and its base in float32"],
        ),
    ],
)
def test_what_was_odd_about_the_training_is_named(change: ModelChange, said: list[str]) -> None:
    data = run(BASE, dataclasses.replace(BETTER, change=change))
    assert doubts(data, run_verdict(data)) == said


@pytest.mark.parametrize(
    ("main", "in_front", "behind", "said"),
    [
        (BETTER, 1.0, 1.0, []),
        (BETTER, 0.0, 0.0, ["the judge gpt, which compared the answers, prefers base"]),
        (scores("FIGA", 0.6), 1.0, 1.0, ["the judge gpt, which compared the answers, prefers FIGA"]),
        (BETTER, 0.5, 0.5, ["the judge gpt, which compared the answers, has no clear preference"]),
        (scores("FIGA", 0.7), 0.5, 0.5, []),
        (BETTER, 1.0, 0.0, ["the judge gpt, which compared the answers, is not to be relied on"]),
    ],
)
def test_a_judge_of_answers_that_does_not_agree_is_named(
    main: ModelScores, in_front: float, behind: float, said: list[str]
) -> None:
    rows = [Compared(str(i), behind, in_front, False, 10, 10 + i % 7) for i in range(30)]
    data = run(BASE, main, judged_pairs=(JudgedPair("base", "FIGA", "gpt", preference(rows)),))
    assert doubts(data, run_verdict(data)) == said
    elsewhere = dataclasses.replace(data.judged_pairs[0], one="SFT")
    other = dataclasses.replace(data, judged_pairs=(elsewhere,))
    assert doubts(other, run_verdict(other)) == []


def test_a_run_that_failed_after_its_model_was_judged_says_so() -> None:
    assert trust(run(BASE, BETTER, failure="disk full")) == "With care: the run failed (disk full)."
