"""PPO by TRL 1.8: a value model says what each prefix of a sample is worth.

TRL's trainer reads samples as ids of one tokenizer, and takes its padding token as the end of whatever it is
in. So the padding token must be one that no prompt has and that ends no answer; and the rewards come from
`Task.rewards` in place of TRL's own pass of the reward model over the policy's ids (`_scoring`).

It computes in float32, whatever the job says: it would sample in that and learn in bfloat16, so that the
probabilities of one step would differ by the rounding. The value model begins as the base model with a head
of zeros. The reward model, with which some begin, may have another tokenizer.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from datasets import Dataset  # pyright: ignore[reportMissingImports]
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer  # pyright: ignore[reportMissingImports]

from figa_core.errors import TrainingError
from figa_core.models.soft_capping import with_soft_capping
from figa_core.rl.task import Task, Watcher


class _BudgetSpentError(Exception):
    """Raised at the end of a step: TRL's loop of PPO looks at no request to stop."""


def train_ppo(task: Task) -> None:
    """See `trainers.train`."""
    job, tokenizer = task.job, task.tokenizer
    padding = _padding(task)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(padding)
    task.policy.generation_config.pad_token_id = padding
    rows = list(range(task.prompts.num_rows))
    trainer = PPOTrainer(
        args=PPOConfig(
            **task.arguments() | {"bf16": False},
            total_episodes=job.token_budget * job.samples_per_step,  # the budget ends it
            num_ppo_epochs=job.of_method.passes,
            kl_coef=job.kl_weight,
            response_length=job.max_tokens,
            stop_token_id=task.stops[0],
            local_rollout_forward_batch_size=task.per_batch,
            num_sample_generations=0,
        ),
        processing_class=tokenizer,
        model=task.policy,
        ref_model=None,  # a copy of the model
        reward_model=torch.nn.Identity(),
        value_model=_value_model(task),
        train_dataset=Dataset.from_dict({"row": rows}),
        data_collator=_collator(task, padding),
        callbacks=[_PpoWatcher(task)],
    )
    task.policy.generation_config.eos_token_id = task.stops  # TRL knows one
    with _scoring(task, trainer.reward_model), suppress(_BudgetSpentError):
        trainer.train()


def _padding(task: Task) -> int:
    """A token that nothing else needs. Raises TrainingError if there is none."""
    tokenizer, stops = task.tokenizer, set(task.stops)
    used = set(task.prompts.column("prompt_ids").combine_chunks().flatten().unique().to_pylist()) | stops
    rows = task.policy.get_input_embeddings().num_embeddings
    named = [tokenizer.pad_token_id, tokenizer.unk_token_id, *sorted(tokenizer.all_special_ids)]
    added = sorted(tokenizer.get_added_vocab().values(), reverse=True)
    for token in (*named, *added):
        if token is not None and token not in used and token < rows:
            return token
    raise TrainingError(
        f"{task.job.model}: PPO's trainer needs a token to pad with, and the prompts or the ends of "
        "answers use every special token of this tokenizer. Add a padding token to it, or use grpo or rloo."
    )


def _value_model(task: Task) -> Any:
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # that it has no head yet is no news
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(
        task.job.model,
        num_labels=1,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    transformers_logging.set_verbosity(before)
    model = with_soft_capping(loaded)
    head = getattr(model, "score", None)
    if not isinstance(head, torch.nn.Linear):
        raise TrainingError(
            f'{task.job.model}: PPO\'s trainer needs a value model with a head named "score", and '
            f"{type(model).__name__} has none. Use grpo or rloo."
        )
    torch.nn.init.zeros_(head.weight)
    return model


def _collator(task: Task, padding: int) -> Callable[[Sequence[dict[str, int]]], dict[str, torch.Tensor]]:
    def collate(batch: Sequence[dict[str, int]]) -> dict[str, torch.Tensor]:
        """The prompts' ids, padded on the left."""
        prompts = [task.prompt_ids(each["row"]) for each in batch]
        longest = max(map(len, prompts))
        return {"input_ids": torch.tensor([[padding] * (longest - len(ids)) + ids for ids in prompts])}

    return collate


@contextmanager
def _scoring(task: Task, reward_model: Any) -> Iterator[None]:
    """TRL's function for rewards and values, with `Task.rewards` for the reward model."""
    theirs = ppo_trainer.get_reward
    rows = _rows_of_prompts(task)

    def get_reward(model: Any, ids_BT: torch.Tensor, padding: int, context: int) -> tuple[Any, Any, Any]:
        if model is not reward_model:
            return theirs(model, ids_BT, padding, context)
        prompts = [[i for i in row if i != padding] for row in ids_BT[:, :context].tolist()]
        samples = [[i for i in row if i != padding] for row in ids_BT[:, context:].tolist()]
        values = task.scored([rows[tuple(prompt)] for prompt in prompts], samples)
        known = [value for value in values if value is not None]
        mean = sum(known) / len(known) if known else task.rewards.mean
        if mean is None:
            raise TrainingError(f"no sample has a reward yet: {task.rewards.why_unscored()}.")
        # Of no weight: what cannot be scored is neither good nor bad.
        scores_B = torch.tensor([mean if value is None else value for value in values], device=ids_BT.device)
        return None, scores_B, None

    ppo_trainer.get_reward = get_reward
    try:
        yield
    finally:
        ppo_trainer.get_reward = theirs


def _rows_of_prompts(task: Task) -> dict[tuple[int, ...], int]:
    """By their ids; equal prompts are one."""
    return {tuple(ids.as_py()): row for row, ids in enumerate(task.prompts.column("prompt_ids"))}


class _PpoWatcher(Watcher):
    def __init__(self, task: Task) -> None:
        super().__init__(task.log)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """Called after each step. TRL adds up KL over a sample; its entropies count padding."""
        logs: dict[str, Any] = kwargs["logs"]
        if "loss/policy_avg" in logs:
            tokens = self.log.mean_sample
            self.log.write(
                loss=logs["loss/policy_avg"] + args.vf_coef * logs["loss/value_avg"],
                learning_rate=logs["lr"],
                grad_norm=None,
                kl=logs["objective/kl"] / tokens,
                entropy=None,
            )
        return control

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """Called after each step and its log."""
        if self.log.is_spent:
            raise _BudgetSpentError
        return control
