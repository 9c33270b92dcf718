"""The learning rate of a step is that of transformers' schedules."""

import pytest
import torch
from transformers import get_scheduler

from figa_core.config.optimization import ScheduleKind
from figa_core.training.schedule import learning_rate_at

HIGHEST = 3e-4
THEIR_NAMES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def rates(kind: ScheduleKind, steps: int, warmup_share: float) -> list[float]:
    return [
        learning_rate_at(step, steps=steps, highest=HIGHEST, kind=kind, warmup_share=warmup_share)
        for step in range(1, steps + 1)
    ]


def rates_of_transformers(kind: ScheduleKind, steps: int, warmup_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=HIGHEST)
    scheduler = get_scheduler(
        THEIR_NAMES[kind], optimizer, num_warmup_steps=warmup_steps, num_training_steps=steps
    )
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(
    ("steps", "share", "warmup_steps"),
    [(1, 0.0, 0), (20, 0.0, 0), (20, 0.1, 2), (21, 0.1, 3), (7, 0.5, 4), (5, 1.0, 5), (3, 1e-9, 1)],
)
def test_every_schedule_is_that_of_transformers(
    kind: ScheduleKind, steps: int, share: float, warmup_steps: int
) -> None:
    assert rates(kind, steps, share) == pytest.approx(
        rates_of_transformers(kind, steps, warmup_steps), rel=1e-12, abs=0
    )


def test_the_default_is_exactly_constant() -> None:
    assert {learning_rate_at(step, steps=9, highest=1e-5) for step in range(1, 10)} == {1e-5}


@pytest.mark.parametrize("step", [0, 6])
def test_there_is_no_rate_of_a_step_that_does_not_exist(step: int) -> None:
    with pytest.raises(ValueError, match=f"no step {step}"):
        learning_rate_at(step, steps=5, highest=1e-5)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_warm_up_is_a_share_of_the_steps(share: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        learning_rate_at(1, steps=5, highest=1e-5, warmup_share=share)
