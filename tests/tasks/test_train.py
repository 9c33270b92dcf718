"""The train stage's ids: equal work has equal ids, whatever its speed settings are."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.config import LossConfig, TrainingConfig
from figa_core.records import Objective, Stage
from tasks.results import StageResult
from tasks.train import label_of, steps_of, training_job
from tasks.weigh import WeighResult
from tasks.workspace import Workspace

WEIGHED = WeighResult("shards-s256-0", Path("shards"), StageResult(Stage.WEIGH, 100, 100))


def training_id(tmp_path: Path, loss: LossConfig | None = None, **settings: Any) -> str:
    config = TrainingConfig.model_validate(settings)
    job = training_job(Workspace(tmp_path), WEIGHED, Path("base"), "hash", loss or LossConfig(), config)
    return job.training_id


def test_epochs_become_steps_and_the_last_one_may_be_smaller() -> None:
    assert steps_of(TrainingConfig(epochs=3, pairs_per_step=8), 100) == 38
    assert steps_of(TrainingConfig(epochs=3, pairs_per_step=8, max_steps=5), 100) == 5


@pytest.mark.parametrize(
    "settings", [{"zero_stage": 3}, {"processes": 2}, {"tokens_per_batch": 64}, {"checkpoint_steps": 7}]
)
def test_what_changes_only_speed_changes_no_id(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert training_id(tmp_path, **settings) == training_id(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [{"learning_rate": 1.0}, {"epochs": 7}, {"seed": 1}, {"dtype": "float32"}, {"pairs_per_step": 3}],
)
def test_what_changes_the_result_changes_the_id(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert training_id(tmp_path, **settings) != training_id(tmp_path)


def test_sft_reads_no_weights_so_they_do_not_change_its_id(tmp_path: Path) -> None:
    plain = LossConfig(objective=Objective.SFT_REVISED)
    weighted = LossConfig(objective=Objective.SFT_REVISED, gamma=0.5, negative_nll_max=None)
    assert training_id(tmp_path, plain) == training_id(tmp_path, weighted)
    assert training_id(tmp_path, LossConfig(gamma=0.5)) != training_id(tmp_path)


def test_every_objective_has_a_name_for_people() -> None:
    assert len({label_of(objective) for objective in Objective}) == len(Objective)
