"""The rewards of a training by reinforcement learning, as its job names them.

Several are combined as in the run (`rewards/combination.py`): the sum of `factor` · (value − `mean`). One
alone is its value as it is, with a mean of 0 and a factor of 1.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from figa_core.config.section import Section
from figa_core.rewards.worker import ProgramSettings


class ModelReward(Section):
    """A reward model in the form that transformers loads, and its longest text in tokens."""

    name: str
    model: Path
    max_length: int
    mean: float = 0.0
    factor: float = 1.0


class ProgramReward(Section):
    """A "module:function"; `source` is the hash of its files, with which the run's values were made."""

    name: str
    function: str
    source: str | None = None
    fields: tuple[str, ...] = ()
    time_limit_s: float = Field(gt=0)
    memory_limit_mib: int = Field(ge=1)
    processes: int | None = None
    mean: float = 0.0
    factor: float = 1.0

    @property
    def settings(self) -> ProgramSettings:
        return ProgramSettings(self.function, self.fields, self.time_limit_s, self.memory_limit_mib)


JobReward = ModelReward | ProgramReward


def with_rewards(job: Any) -> Any:
    """The fields of a job; in older files there is one reward model, in fields of its own."""
    if not isinstance(job, dict) or "reward_model" not in job or "rewards" in job:
        return job
    model = {"name": "reward", "model": job["reward_model"], "max_length": job.get("reward_max_length")}
    rest = {name: v for name, v in job.items() if name not in ("reward_model", "reward_max_length")}
    return {**rest, "rewards": [model]}
