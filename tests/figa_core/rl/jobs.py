"""A job for tests."""

from pathlib import Path
from typing import Any

from figa_core.rl.job import RlJob
from figa_core.rl.job_rewards import ModelReward
from figa_core.sandbox.build import Sandbox


def model_reward(sandbox: Sandbox, **settings: Any) -> ModelReward:
    fields = {"name": "reward", "model": sandbox.reward_model, "max_length": 512}
    return ModelReward.model_validate(fields | settings)


def rl_job(directory: Path, **settings: Any) -> RlJob:
    fields: dict[str, Any] = {
        "method": "grpo",
        "training_id": "rl-training-1",
        "output": directory / "trainings" / "rl-training-1",
        "model": directory / "base",
        "rewards": [{"name": "reward", "model": directory / "reward", "max_length": 512}],
        "prompts": directory / "prompts.parquet",
        "token_budget": 1000,
        "samples_per_prompt": 8,
        "samples_per_step": 8,
        "temperature": 1.0,
        "max_tokens": 16,
        "kl_weight": 0.04,
        "learning_rate": 1e-4,
        "seed": 0,
        "dtype": "float32",
        "tokens_per_batch": 4096,
        "steps": 5,
    }
    return RlJob.model_validate(fields | settings)
