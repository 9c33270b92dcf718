"""The lines of a training by reinforcement learning, and when it is over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import DivergedTrainingError
from figa_core.rl.job import ALIKE, ENTROPY, GENERATED, KL, PEAK, REWARD, SCORED, UNSCORED
from figa_core.rl.step_log import StepLog, alike
from figa_core.training.metrics import read_metrics

from .jobs import rl_job


@dataclass
class Counted:
    scored_by_model: Mapping[str, int] = field(default_factory=lambda: {"reward": 0})
    unscored: int = 0


def log_of(tmp_path: Path, counted: Counted | None = None, **settings: Any) -> StepLog:
    job = rl_job(tmp_path, **settings)
    job.output.mkdir(parents=True)
    return StepLog(job, counted or Counted())


def step(log: StepLog, loss: float = 0.5, kl: float | None = 0.1, grad_norm: float | None = 2.0) -> None:
    log.write(loss=loss, learning_rate=1e-4, grad_norm=grad_norm, kl=kl, entropy=1.5)


def test_a_line_has_what_its_step_drew_and_scored(tmp_path: Path) -> None:
    counted = Counted()
    log = log_of(tmp_path, counted)
    counted.scored_by_model, counted.unscored = {"reward": 90}, 1
    log.sampled([10, 10], [4, 6], [1.0, None])
    log.sampled([20], [5], [2.0])
    step(log)
    counted.scored_by_model = {"reward": 100}
    log.sampled([10], [3], [-1.0])
    step(log, kl=None)
    first, second = read_metrics(tmp_path / "trainings" / "rl-training-1" / "metrics.jsonl")
    assert (first.step, first.tokens, first.pairs, first.learning_rate) == (1, 55, 3, 1e-4)
    assert first.figures[REWARD.name] == 1.5
    assert (first.figures[GENERATED], first.figures[SCORED], first.figures[UNSCORED]) == (15, 90, 1)
    assert (first.figures[KL.name], first.figures[ENTROPY.name]) == (0.1, 1.5)
    assert (first.figures[PEAK] or 0) > 1e6
    assert (second.step, second.tokens, second.pairs) == (2, 13, 1)
    assert (second.figures[GENERATED], second.figures[SCORED], second.figures[UNSCORED]) == (3, 10, 0)
    assert second.figures[KL.name] is None


def test_what_each_of_several_reward_models_reads_is_a_figure_of_its_own(tmp_path: Path) -> None:
    models = [{"name": name, "model": name, "max_length": 64} for name in ("first", "second")]
    counted = Counted({"first": 5, "second": 7})
    log = log_of(tmp_path, counted, rewards=models)
    counted.scored_by_model = {"first": 8, "second": 17}
    log.sampled([1], [1], [0.0])
    step(log)
    [found] = read_metrics(tmp_path / "trainings" / "rl-training-1" / "metrics.jsonl")
    figures = {name: value for name, value in found.figures.items() if name.startswith(SCORED)}
    assert figures == {SCORED: 13, f"{SCORED}/first": 3, f"{SCORED}/second": 10}


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([0.0, 0.0, 1.0, 1.0], 4),  # other prompts' rewards do not matter
        ([0.0, 1.0, 1.0, 1.0], 2),
        ([0.0, None, 1.0, 2.0], 2),  # nothing to compare with
        ([None, None, None, None], 4),
        ([1e8, 1e8 + 1, 1.0, 1.5], 2),  # the same number in 32 bits
    ],
)
def test_samples_whose_reward_differs_from_no_other_of_their_prompt_are_counted(
    values: Sequence[float | None], count: int, tmp_path: Path
) -> None:
    assert alike(values, 2) == count
    log = log_of(tmp_path, samples_per_prompt=2)
    log.sampled([1] * 4, [1] * 4, values)
    step(log)
    [found] = read_metrics(tmp_path / "trainings" / "rl-training-1" / "metrics.jsonl")
    assert (found.figures[ALIKE], log.alike, log.samples) == (count, count, 4)


def test_a_method_with_one_sample_of_a_prompt_compares_all_of_a_step(tmp_path: Path) -> None:
    log = log_of(tmp_path, samples_per_prompt=1)
    for values in ((0.0, 1.0), (3.0, 3.0)):
        for value in values:
            log.sampled([1], [1], [value])
        step(log)
    assert (log.alike, log.samples) == (2, 4)


def test_the_mean_sample_is_that_of_the_step_under_way(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    log.sampled([1, 1], [4, 6], [0.0, 0.0])
    assert log.mean_sample == 5


def test_the_training_is_over_when_the_budget_is(tmp_path: Path) -> None:
    log = log_of(tmp_path, token_budget=100)
    over = []
    for _ in range(4):
        log.sampled([1], [30], [0.0])
        step(log)
        over.append(log.is_spent)
    assert over == [False, False, True, True]  # 90 is nearer to 100 than 120


@pytest.mark.parametrize(
    ("figures", "named"),
    [
        ({"loss": float("nan")}, "loss"),
        ({"grad_norm": float("inf")}, "gradient's norm"),
        ({"kl": float("inf")}, "KL from the base"),
    ],
)
def test_a_figure_that_is_no_number_ends_it_and_writes_no_line(
    figures: dict[str, float], named: str, tmp_path: Path
) -> None:
    log = log_of(tmp_path)
    log.sampled([1], [1], [0.0])
    with pytest.raises(DivergedTrainingError, match=f"step 1: not a finite number: {named}"):
        step(log, **figures)
    assert not (tmp_path / "trainings" / "rl-training-1" / "metrics.jsonl").exists()
