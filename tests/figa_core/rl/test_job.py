"""The file that a worker reads, and what of it decides the result."""

import json
from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import TrainingError
from figa_core.rl.job import RlJob

from .jobs import rl_job


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = rl_job(tmp_path)
    assert RlJob.from_json(job.model_dump_json(), source="job.json") == job


def test_the_job_of_an_older_version_has_its_one_reward_model(tmp_path: Path) -> None:
    fields = json.loads(rl_job(tmp_path).model_dump_json())
    [reward] = fields.pop("rewards")
    older = {**fields, "reward_model": reward["model"], "reward_max_length": reward["max_length"]}
    assert RlJob.from_json(json.dumps(older), source="job.json") == rl_job(tmp_path)


def test_rewards_of_every_kind_are_read_as_they_were_written(tmp_path: Path) -> None:
    program = {
        "name": "b",
        "function": "m:f",
        "fields": ["answer"],
        "time_limit_s": 1,
        "memory_limit_mib": 64,
    }
    model = {"name": "a", "model": "reward", "max_length": 64, "mean": 0.1, "factor": -1 / 3}
    job = rl_job(tmp_path, rewards=[model, program])
    assert RlJob.from_json(job.model_dump_json(), source="job.json") == job
    assert [each.name for each in job.reward_models] == ["a"]
    assert [each.settings.fields for each in job.programs] == [("answer",)]
    assert "reward_max_length" not in job.settings_in_id()  # the scorer's id has it


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
        ({"output": "elsewhere", "prompts": "elsewhere", "model": "moved"}, False),
        ({"rewards": [{"name": "another name", "model": "moved", "max_length": 512}]}, False),
        ({"rewards": [{"name": "reward", "model": "reward", "max_length": 64}]}, True),
        ({"steps": 7}, False),
        ({"stop": ["\n"]}, True),
        ({"stop": []}, False),
    ],
)
def test_speed_and_paths_decide_nothing(settings: dict[str, Any], changes: bool, tmp_path: Path) -> None:
    before, after = rl_job(tmp_path).settings_in_id(), rl_job(tmp_path, **settings).settings_in_id()
    assert (before != after) == changes
