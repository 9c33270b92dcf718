"""GRPO and RLOO by TRL 1.16: several samples of a prompt are compared with each other."""

from typing import Any

from datasets import Dataset  # pyright: ignore[reportMissingImports]
from trl import (  # pyright: ignore[reportMissingImports]
    GRPOConfig,
    GRPOTrainer,
    RLOOConfig,
    RLOOTrainer,
)

from figa_core.rl.task import Task, Watcher

_TRAINERS = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}


def train_groups(task: Task) -> None:
    """See `trainers.train`."""
    trainer, config = _TRAINERS[task.job.method]
    job, rows = task.job, range(task.prompts.num_rows)
    task.policy.generation_config.eos_token_id = task.stops
    arguments = config(
        **task.arguments(),
        num_generations=job.samples_per_prompt,
        max_completion_length=job.max_tokens,
        beta=job.kl_weight,
        max_steps=job.token_budget,  # each step has a token at least
    )
    _given_ids(trainer, task)(
        model=task.policy,
        reward_funcs=_reward(task),
        args=arguments,
        # A prompt is the number of its row: its ids are already known.
        train_dataset=Dataset.from_dict({"prompt": [str(row) for row in rows]}),
        processing_class=task.tokenizer,
        callbacks=[Watcher(task.log)],
    ).train()


def _given_ids(trainer: Any, task: Task) -> Any:
    """The trainer, which would make ids of texts in its own way."""

    class GivenIds(trainer):
        def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return [task.prompt_ids(int(row)) for row in prompts], None, {}

    if not hasattr(trainer, "_tokenize_prompts"):
        raise AttributeError(f"{trainer.__name__} of this release of TRL tokenizes prompts elsewhere")
    return GivenIds


def _reward(task: Task) -> Any:
    def reward(prompts: list[str], completion_ids: list[list[int]], **_rest: Any) -> list[float | None]:
        return task.scored([int(row) for row in prompts], completion_ids)

    return reward
