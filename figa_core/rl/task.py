"""What all of TRL's trainers share: a job with its model and rewards in memory. It runs in TRL's environment.

A trainer gets prompts as token ids, made by the run's own chat format, and asks `Task.rewards` for the values
of its samples. It stops when `StepLog.is_spent`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, TrainerCallback

from figa_core.chat.format import load_chat_format
from figa_core.models.soft_capping import with_soft_capping
from figa_core.models.tokenizer import load_tokenizer
from figa_core.rl.budget import samples_per_batch
from figa_core.rl.job import RlJob
from figa_core.rl.prompts_file import conversation, row_fields
from figa_core.rl.rewards import Drawn, Rewards
from figa_core.rl.step_log import StepLog


@dataclass(frozen=True, eq=False)
class Task:
    """A job with its model, prompts and rewards in memory; prompts are known by their row."""

    job: RlJob
    policy: Any
    prompts: pa.Table
    rewards: Rewards
    log: StepLog

    def prompt_ids(self, row: int) -> list[int]:
        """The token ids of a prompt, generation prompt included."""
        return self.prompts.column("prompt_ids")[row].as_py()

    def scored(self, rows: Sequence[int], samples: Sequence[Sequence[int]]) -> list[float | None]:
        """The rewards of samples of these prompts, which count as drawn."""
        messages, fields = self.prompts.column("messages"), self.prompts.column("fields")
        drawn = [
            Drawn(conversation(messages[row].as_py()), ids, row_fields(fields[row].as_py()))
            for row, ids in zip(rows, samples, strict=True)
        ]
        values = self.rewards.of(drawn)
        self.log.sampled([len(self.prompt_ids(row)) for row in rows], [len(ids) for ids in samples], values)
        return values

    @cached_property
    def stops(self) -> list[int]:
        """Every token that ends a sample, the end of turn's first."""
        chat = load_chat_format(self.job.model)
        last = chat.end_of_turn_ids[-1:]
        return [*last, *(stop for stop in chat.stop_token_ids if stop not in last)]

    @cached_property
    def tokenizer(self) -> Any:
        """The model's; trainers want a padding token and an end of text."""
        tokenizer = load_tokenizer(self.job.model)
        if tokenizer.eos_token is None:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(self.stops[0])
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left"
        return tokenizer

    @cached_property
    def per_batch(self) -> int:
        """Samples that go through the model at once."""
        chunks = [chunk for chunk in self.prompts.column("prompt_ids").chunks if len(chunk)]
        longest = max(int(np.diff(chunk.offsets.to_numpy()).max()) for chunk in chunks)
        job = self.job
        return samples_per_batch(job.samples_per_step, longest + job.max_tokens, job.tokens_per_batch)

    def arguments(self) -> dict[str, Any]:
        """Of every trainer: a constant rate, a line per step, no files, no network, one process."""
        job = self.job
        return {
            "output_dir": str(job.output / "trl"),
            "per_device_train_batch_size": self.per_batch,
            "gradient_accumulation_steps": job.samples_per_step // self.per_batch,
            "temperature": job.temperature,
            "learning_rate": job.learning_rate,
            "lr_scheduler_type": "constant",
            "seed": job.seed,
            "bf16": job.dtype == "bfloat16",
            "gradient_checkpointing": False,
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "use_cpu": not torch.cuda.is_available(),
            "dataloader_pin_memory": torch.cuda.is_available(),
        }


class Watcher(TrainerCallback):
    """Ends a training of transformers' loop when the budget is spent."""

    def __init__(self, log: StepLog) -> None:
        self.log = log

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """Called after each step, and once at the end with other figures."""
        logs: dict[str, Any] = kwargs["logs"]
        if "loss" in logs:
            self.log.write(
                loss=logs["loss"],
                learning_rate=logs["learning_rate"],
                grad_norm=logs.get("grad_norm"),
                kl=logs.get("kl"),
                entropy=logs.get("entropy"),
            )
            control.should_training_stop = self.log.is_spent
        return control


def load_policy(job: RlJob) -> Any:
    """The model to train, in float32: in bfloat16 the optimizer's small steps would be lost."""
    policy = AutoModelForCausalLM.from_pretrained(
        job.model, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    # Nothing in the checkpoint but the settings decides how it samples.
    policy.generation_config = GenerationConfig()
    return with_soft_capping(policy)
