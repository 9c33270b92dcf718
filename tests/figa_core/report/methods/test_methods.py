"""Which method won, which cannot be told apart, and what that is corrected for."""

import json
from dataclasses import replace

import numpy as np
import pytest

from figa_core.evaluation.cost import Cost
from figa_core.harness.results import BenchmarkScore
from figa_core.report.benchmarks import Benchmarks, benchmark_rows
from figa_core.report.comparison import Metric
from figa_core.report.methods.comparison import BASE, below_base, by_type, estimate_methods, spread_over_seeds
from figa_core.report.methods.data import (
    CurvePoint,
    MethodOutcome,
    MethodsData,
    Outcome,
    TrainingOutcome,
    best_rate,
    best_training,
)
from figa_core.report.methods.html import render_methods
from figa_core.report.methods.json import methods_json
from figa_core.report.methods.plots import best_for_cost, total_flops
from figa_core.report.methods.text import result_sentences, table_lines

PROMPTS = [f"p{number:02}" for number in range(30)]


def training(
    rate: float,
    seed: int,
    mean: float,
    *,
    validation: float | None = None,
    flops: float = 1e9,
    draw: int = 0,
) -> TrainingOutcome:
    """A judged training whose scores scatter around `mean`, in another way for each seed and `draw`."""
    noise = np.random.default_rng([seed, draw]).normal(size=len(PROMPTS)).tolist()
    return TrainingOutcome(
        learning_rate=rate,
        seed=seed,
        training_id=f"t-{rate}-{seed}",
        outcome=Outcome.JUDGED,
        validation={"v": mean if validation is None else validation},
        judged={prompt: mean + 2 * extra for prompt, extra in zip(PROMPTS, noise, strict=True)},
        cost=Cost(tokens=1000, flops=flops, seconds=12.0, peak_bytes=2**30),
    )


def method(name: str, mean: float, *, pairs: int = 100, seeds: int = 3, flops: float = 1e9) -> MethodOutcome:
    """Its scores differ from those of methods with another name."""
    draw = sum(name.encode())
    trainings = tuple(training(1e-5, seed, mean, flops=flops, draw=draw) for seed in range(seeds))
    return MethodOutcome(name, "figa", pairs, trainings)


def data_of(
    *methods: MethodOutcome, against: str = "all", types: dict[str, str] | None = None
) -> MethodsData:
    return MethodsData(
        workspace="test",
        run_id="run-1",
        created_at="now",
        metric=Metric.VERIFIER,
        base={prompt: 50.0 + place % 3 for place, prompt in enumerate(PROMPTS)},
        methods=methods,
        validation_prompts=9,
        against=against,
        types=types or {},
    )


def test_what_is_learnt_from_is_named_where_a_method_learns_from_rewards() -> None:
    rewards = ("'right' (program m:f, weight 2)", "'helpful' (reward model r, weight 1)")
    learning = replace(method("GRPO", 70.0), objective="grpo")
    data = replace(data_of(method("A", 80.0), learning), rewards=rewards)
    found = estimate_methods(data)
    sentence = f"The reward of GRPO: {rewards[0]} and {rewards[1]}, combined as for the pairs."
    assert sentence in result_sentences(data, found)
    assert "&#39;right&#39; (program m:f, weight 2)" in render_methods(data, found)
    assert json.loads(methods_json(data, found))["rewards"] == list(rewards)
    one = replace(data, rewards=rewards[:1])
    assert f"The reward of GRPO: {rewards[0]}." in result_sentences(one, found)
    without = replace(data, methods=data.methods[:1])
    assert "The reward of" not in " ".join(result_sentences(without, estimate_methods(without)))


def test_a_judge_that_chose_the_pairs_is_said_wherever_the_result_is() -> None:
    sentence = "The models are judged by the reward, which also chose the pairs."
    data = replace(data_of(method("A", 80.0)), dependent_judge=sentence)
    found = estimate_methods(data)
    assert sentence in result_sentences(data, found)
    assert sentence in render_methods(data, found)
    assert json.loads(methods_json(data, found))["dependent_judge"] == sentence
    independent = replace(data, dependent_judge="")
    assert json.loads(methods_json(independent, found))["dependent_judge"] is None


def test_the_best_method_is_ahead_of_some_and_not_told_apart_from_others() -> None:
    data = data_of(method("A", 80.0), method("B", 79.5), method("C", 60.0), method("D", 40.0))
    found = estimate_methods(data)
    assert [row.method.name for row in found.at(100)] == ["A", "B", "C", "D"]
    text = " ".join(result_sentences(data, found))
    assert "With 100 pairs, A scores highest: " in text
    assert "the base model has 51.0" in text
    assert "A is ahead of C and D." in text
    assert "worse than the base model: D." in text
    assert "corrected for 10 comparisons" in text
    assert "cover prompts and seeds" in text
    ahead = found.between("A", "C", 100)
    behind = found.between("C", "A", 100)
    assert "A cannot be told apart from B." in text
    assert ahead is not None
    assert behind is not None
    assert ahead.told_apart
    assert ahead.interval is not None
    assert behind.interval == (-ahead.interval[1], -ahead.interval[0])
    assert behind.change.mean == pytest.approx(-20.0, abs=2)


def test_noise_is_not_told_apart_and_simultaneous_intervals_are_wider() -> None:
    found = estimate_methods(data_of(method("A", 80.0), method("B", 80.1)))
    contrast = found.between("A", "B", 100)
    assert contrast is not None
    assert not contrast.told_apart
    alone = contrast.change.interval()
    assert alone is not None
    assert contrast.interval is not None
    assert contrast.interval[0] < alone[0] < alone[1] < contrast.interval[1]


def test_against_the_first_method_there_are_fewer_comparisons() -> None:
    methods = [method(name, 80.0 + place) for place, name in enumerate("ABCD")]
    first = estimate_methods(data_of(*methods, against="first"))
    assert (first.comparisons, estimate_methods(data_of(*methods)).comparisons) == (7, 10)
    assert first.between("B", "C", 100) is None
    assert first.between("B", "A", 100) is not None


def test_methods_are_compared_at_the_same_number_of_pairs() -> None:
    found = estimate_methods(data_of(method("A", 80.0, pairs=32), method("A", 85.0, pairs=128)))
    assert found.sizes == (32, 128)
    assert found.contrasts == ()
    assert [row.to_base is not None for row in found.rows] == [True, True]


def test_with_one_seed_the_table_says_that_intervals_cover_prompts_only() -> None:
    data = data_of(method("A", 80.0, seeds=1))
    text = " ".join(result_sentences(data, estimate_methods(data)))
    assert "Intervals of methods with one seed cover prompts only" in text
    assert "prompts only" in render_methods(data, estimate_methods(data))


def test_a_rate_is_chosen_on_validation_and_not_by_the_judging_prompts() -> None:
    overfitted = training(3e-5, 0, 95.0, validation=10.0)
    sound = training(1e-5, 0, 70.0, validation=60.0)
    assert best_rate((overfitted, sound)) == 1e-5
    chosen = MethodOutcome("A", "figa", 100, (overfitted, sound))
    assert chosen.chosen == (sound,)


def test_of_equal_rates_the_lower_is_chosen_and_one_without_all_seeds_is_not() -> None:
    equal = tuple(training(rate, 0, 70.0) for rate in (3e-5, 1e-5))
    assert best_rate(equal) == 1e-5
    diverged = TrainingOutcome(3e-5, 1, "t", Outcome.DIVERGED, "the loss is nan")
    half = (training(3e-5, 0, 99.0), diverged, training(1e-5, 0, 60.0), training(1e-5, 1, 60.0))
    assert best_rate(half) == 1e-5
    assert best_rate((diverged,)) is None
    best = best_training((training(1e-5, 0, 60.0), training(1e-5, 1, 61.0)))
    assert best is not None
    assert best.seed == 1


def test_what_has_no_result_is_a_row_with_its_reason() -> None:
    lost = MethodOutcome("B", "sft", 100, unable="none of the 100 pairs has a reference")
    bad = TrainingOutcome(1e-5, 0, "t", Outcome.DIVERGED, "step 3: the loss is nan\nFull log: x")
    odd = replace(training(1e-5, 0, 60.0), reason="ended by the alarm kl")
    data = data_of(
        method("A", 80.0),
        lost,
        MethodOutcome("C", "figa", 100, (bad,)),
        MethodOutcome("D", "figa", 100, (odd,)),
    )
    found = estimate_methods(data)
    lines = "\n".join(table_lines(data, found))
    assert "B, 100 pairs: cannot run: none of the 100 pairs has a reference" in lines
    assert "C, 100 pairs: 1 diverged (rate 1e-05 seed 0): step 3: the loss is nan\n" in lines + "\n"
    assert "D, 100 pairs: 1 judged (rate 1e-05 seed 0): ended by the alarm kl" in lines
    page = render_methods(data, found)
    assert "none of the 100 pairs has a reference" in page
    assert b"step 3: the loss is nan" in methods_json(data, found)


def test_without_any_judged_training_the_page_says_so() -> None:
    data = data_of(MethodOutcome("A", "figa", 100, unable="there are only 3 pairs"))
    found = estimate_methods(data)
    assert next(result_sentences(data, found)) == "No training was judged, so there is nothing to compare."
    assert "No training was judged" in render_methods(data, found)
    methods_json(data, found)


def test_the_frontier_holds_what_no_cheaper_method_beats() -> None:
    data = data_of(
        method("cheap", 60.0, flops=1e9),
        method("wasteful", 55.0, flops=1e12),
        method("good", 80.0, flops=1e11),
    )
    rows = best_for_cost(list(estimate_methods(data).at(100)))
    assert [row.method.name for row in rows] == ["cheap", "good"]
    assert total_flops(rows[0].method) == 1e9


def test_scores_by_type_are_of_the_prompts_of_that_type() -> None:
    types = {prompt: "even" if place % 2 == 0 else "odd" for place, prompt in enumerate(PROMPTS)}
    data = data_of(method("A", 80.0), types=types)
    found = by_type(data, 100)
    assert {kind: set(rows) for kind, rows in found.items()} == {"even": {BASE, "A"}, "odd": {BASE, "A"}}
    assert found["even"]["A"].prompts == 15
    assert "Types of prompt" in render_methods(data, estimate_methods(data))


def test_the_page_has_every_part_and_equal_data_gives_equal_bytes() -> None:
    data = data_of(
        method("A <b>", 80.0),
        method("A <b>", 82.0, pairs=200),
        method("B", 70.0),
        method("B", 71.0, pairs=200),
    )
    page = render_methods(data, estimate_methods(data))
    for part in ("methods", "differences", "pairs", "cost", "rates", "training"):
        assert f'id="{part}"' in page
    assert "A &lt;b&gt;" in page
    assert "<script" not in page
    assert page == render_methods(data, estimate_methods(data))


def test_benchmarks_are_shown_beside_the_base_and_given_to_programs() -> None:
    data = data_of(method("FIGA", 60), method("DPO", 55))
    assert 'id="benchmarks"' not in render_methods(data, estimate_methods(data))
    scores = {
        label: [BenchmarkScore("own", "acc", "none", value, 0.01, 200, 200, True)]
        for label, value in (("base", 0.5), ("FIGA", 0.6))
    }
    rows, labels = benchmark_rows(scores, "base")
    found = Benchmarks(rows, labels, "0.4.13", ("vLLM 0.32.0",), {"DPO": ("own",)})
    data = replace(data, benchmarks=found)
    page = render_methods(data, estimate_methods(data))
    assert 'href="#benchmarks"' in page
    assert "60.0 ± 1.0" in page
    assert "They choose and place no method." in page
    assert "DPO has no result of own" in page
    content = json.loads(methods_json(data, estimate_methods(data)))["benchmarks"]
    assert [(each["model"], each["score"]) for each in content] == [("base", 0.5), ("FIGA", 0.6)]


def test_a_methods_label_has_its_number_of_pairs_only_if_there_are_several() -> None:
    one, other = method("FIGA", 60), method("FIGA", 61, pairs=1500)
    assert data_of(one).label(one) == "FIGA"
    assert data_of(one, other).label(other) == "FIGA, 1,500 pairs"


@pytest.mark.parametrize("count", [1, 12])
def test_any_number_of_methods_can_be_drawn(count: int) -> None:
    data = data_of(
        *(method(f"method {place}", 60.0 + place, pairs=n) for place in range(count) for n in (8, 64))
    )
    assert f"method {count - 1}" in render_methods(data, estimate_methods(data))


def test_trainings_that_are_worse_than_the_base_are_counted_whatever_rate_was_chosen() -> None:
    broken = training(3e-5, 0, 20.0, validation=10.0)
    row = MethodOutcome("A", "figa", 100, (training(1e-5, 0, 80.0), broken))
    data = data_of(row)
    found = estimate_methods(data)
    assert below_base(data, row) == [broken]
    assert row.learning_rate == 1e-5
    text = " ".join(result_sentences(data, found))
    assert "Trainings of the sweep whose model is worse than the base: A (1)." in text
    assert b'"trainings_below_base": 1' in methods_json(data, found)


def test_the_spread_over_seeds_needs_two() -> None:
    assert spread_over_seeds(method("A", 80.0, seeds=1)) is None
    spread = spread_over_seeds(method("A", 80.0))
    assert spread is not None
    assert 0 < spread < 2


def test_curves_over_the_steps_are_drawn_and_listed_with_intervals_over_seeds() -> None:
    whole = method("A", 80.0)
    early = CurvePoint(4, tuple(training(1e-5, seed, 65.0) for seed in range(3)))
    points = (early, CurvePoint(12, whole.chosen))
    data = data_of(replace(whole, after_steps=points), method("B", 70.0))
    found = estimate_methods(data)
    page = render_methods(data, found)
    assert '<section id="steps">' in page
    assert "Score of 1 methods by optimizer steps" not in page
    assert "Score of 1 method by optimizer steps" in page
    first, last = json.loads(methods_json(data, found))["rows"][0]["after_steps"]
    assert (first["steps"], last["steps"]) == (4, 12)
    assert first["score"]["mean"] == pytest.approx(65.0, abs=2)
    assert first["score"]["interval"][0] < first["score"]["mean"] < first["score"]["interval"][1]
    assert last["score"]["mean"] == found.rows[0].estimate.mean
    without = data_of(whole)
    assert '<section id="steps">' not in render_methods(without, estimate_methods(without))


def test_a_point_of_a_curve_without_a_judged_training_has_no_score() -> None:
    failed = replace(training(1e-5, 0, 65.0), outcome=Outcome.DIVERGED, validation={}, judged={})
    data = data_of(replace(method("A", 80.0), after_steps=(CurvePoint(4, (failed,)),)))
    found = estimate_methods(data)
    assert '<section id="steps">' in render_methods(data, found)
    [point] = json.loads(methods_json(data, found))["rows"][0]["after_steps"]
    assert point["score"]["mean"] is None
