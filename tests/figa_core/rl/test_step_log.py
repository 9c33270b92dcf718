"""The lines of a training by reinforcement learning, and when it is over."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from figa_core.errors import DivergedTrainingError
from figa_core.rl.job import ENTROPY, GENERATED, KL, PEAK, REWARD, SCORED, UNSCORED
from figa_core.rl.step_log import StepLog
from figa_core.training.metrics import read_metrics

from .jobs import rl_job


@dataclass
class Counted:
    scored_tokens: int = 0
    unscored: int = 0


def log_of(tmp_path: Path, counted: Counted | None = None, **settings: int) -> StepLog:
    job = rl_job(tmp_path, **settings)
    job.output.mkdir(parents=True)
    return StepLog(job, counted or Counted())


def step(log: StepLog, loss: float = 0.5, kl: float | None = 0.1, grad_norm: float | None = 2.0) -> None:
    log.write(loss=loss, learning_rate=1e-4, grad_norm=grad_norm, kl=kl, entropy=1.5)


def test_a_line_has_what_its_step_drew_and_scored(tmp_path: Path) -> None:
    counted = Counted()
    log = log_of(tmp_path, counted)
    counted.scored_tokens, counted.unscored = 90, 1
    log.sampled([10, 10], [4, 6], [1.0, None])
    log.sampled([20], [5], [2.0])
    step(log)
    counted.scored_tokens = 100
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
