"""How many trainings of a comparison run at once on a pool."""

from pathlib import Path

import pytest

from figa_core.config import TrainingConfig
from figa_core.training.job import TrainingSpec
from flows.comparison.trainings import at_once
from tasks.compare import Planned


@pytest.mark.parametrize(("limit", "nodes", "expected"), [(3, 1, 3), (None, 1, 4), (4, 2, 1), (None, 2, 1)])
def test_those_on_several_machines_run_one_by_one(limit: int | None, nodes: int, expected: int) -> None:
    spec = TrainingSpec(shards=Path("s"), model=Path("m"), training=TrainingConfig(nodes=nodes))
    planned = Planned(1e-5, 1, spec, None)  # pyright: ignore[reportArgumentType] - the job is not looked at
    assert at_once([planned, planned], limit) == expected


def test_a_training_by_rewards_has_one_machine() -> None:
    planned = Planned(1e-5, 1, None, None)  # pyright: ignore[reportArgumentType]
    assert at_once([planned], 2) == 2
