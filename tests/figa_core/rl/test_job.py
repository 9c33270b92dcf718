"""The file that a worker reads, and what of it decides the result."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import TrainingError
from figa_core.rl.job import RlJob

from .jobs import rl_job


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = rl_job(tmp_path)
    assert RlJob.from_json(job.model_dump_json(), source="job.json") == job


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"method": "grpo"}'])
def test_another_file_is_no_job(text: str) -> None:
    with pytest.raises(TrainingError, match=r"job\.json: not a training job"):
        RlJob.from_json(text, source="job.json")


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"learning_rate": 1e-5}, True),
        ({"seed": 1}, True),
        ({"token_budget": 5000}, True),
        ({"kl_weight": 0.0}, True),
        ({"method": "rloo"}, True),
        ({"max_tokens": 17}, True),
        ({"tokens_per_batch": 100}, False),
        ({"output": "elsewhere", "prompts": "elsewhere", "model": "moved", "reward_model": "moved"}, False),
        ({"steps": 7}, False),
        ({"stop": ["\n"]}, True),
        ({"stop": []}, False),
    ],
)
def test_speed_and_paths_decide_nothing(settings: dict[str, Any], changes: bool, tmp_path: Path) -> None:
    before, after = rl_job(tmp_path).settings_in_id(), rl_job(tmp_path, **settings).settings_in_id()
    assert (before != after) == changes
