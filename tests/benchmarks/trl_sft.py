"""TRL's SFTTrainer as a contender, on both sequences of every pair. It runs in TRL's own environment.

Packing puts as many sequences into a row of `row_length` as fit. A step has as many rows as `pairs_per_step`
pairs fill on average, and pairs are counted by the tokens that went through the model, without padding.
"""

import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # pyright: ignore[reportMissingImports]
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

from tests.benchmarks.bare_pairs import BarePair, read_steps
from tests.benchmarks.flops import row_flops
from tests.benchmarks.measure import MemoryWatch, Outcome, Step, finished_clock
from tests.benchmarks.spec import LOOP_SEED, WARM_UP, Spec


class StepClock(TrainerCallback):
    """Seconds, tokens and FLOPs from the end of one optimizer step to the end of the next."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._begun = 0.0
        self._tokens = self._flops = 0.0
        self.steps: list[tuple[float, float, float]] = []

    def count(self, _module: Any, _arguments: Any, inputs: dict[str, Any]) -> None:
        """A forward pre-hook of the model."""
        rows, length = inputs["input_ids"].shape
        if "attention_mask" in inputs:
            self._tokens += float(inputs["attention_mask"].sum())
        else:
            self._tokens += rows * length
        self._flops += rows * trl_row_flops(self._spec, length)

    def on_train_begin(self, *_arguments: Any, **_rest: Any) -> None:
        """Called by the trainer."""
        self._begun = time.perf_counter()

    def on_step_end(self, *_arguments: Any, **_rest: Any) -> None:
        """Called by the trainer after the optimizer's step."""
        now = finished_clock()
        self.steps.append((now - self._begun, self._tokens, self._flops))
        self._begun, self._tokens, self._flops = now, 0.0, 0.0


def trl_row_flops(spec: Spec, length: int) -> float:
    """The FLOPs of a row: TRL projects every position, and recomputes each tile of logits in backward."""
    return row_flops(spec.shape, spec.vocabulary, tokens=length, projected=length, head_passes=2)


def run(spec: Spec) -> Outcome:
    """Train on all of the spec's pairs once."""
    steps = read_steps(Path(spec.pairs))[: spec.steps + WARM_UP]
    pairs = [pair for step in steps for pair in step]
    tokens_per_pair = sum(pair.tokens for pair in pairs) / len(pairs)
    clock = StepClock(spec)
    dtype = torch.bfloat16 if spec.bfloat16 else torch.float32
    model = AutoModelForCausalLM.from_pretrained(spec.model, dtype=dtype, local_files_only=True)
    trainer = SFTTrainer(
        model=model,
        args=config(spec, pairs, tokens_per_pair),
        train_dataset=Dataset.from_list([row for pair in pairs for row in sequences(pair)]),
        processing_class=AutoTokenizer.from_pretrained(spec.model, local_files_only=True),
        callbacks=[clock],
    )
    model.register_forward_pre_hook(clock.count, with_kwargs=True)
    watch = MemoryWatch()
    trainer.train()
    _check_tokens(clock, pairs)
    timed = [Step(s, tokens / tokens_per_pair, flops) for s, tokens, flops in clock.steps]
    # Whole steps only: the last one has the remaining rows.
    whole = [step for step in timed[WARM_UP:] if step.pairs > spec.pairs_per_step / 2]
    return watch.outcome(whole)


def sequences(pair: BarePair) -> list[dict[str, list[int]]]:
    """The prompt with each answer; the loss is on the answer."""
    return [
        {
            "input_ids": [*pair.prompt_ids, *answer],
            "labels": [-100] * len(pair.prompt_ids) + list(answer),
        }
        for answer in (pair.response_ids, pair.revision_ids)
    ]


def config(spec: Spec, pairs: list[BarePair], tokens_per_pair: float) -> SFTConfig:
    """Without evaluation, saving and logging, and without gradient checkpointing, which is TRL's default."""
    longest = max(len(row["input_ids"]) for pair in pairs for row in sequences(pair))
    row_length = max(spec.row_length, longest)
    if spec.row_length:
        accumulated = max(1, round(spec.pairs_per_step * tokens_per_pair / row_length / spec.rows_per_batch))
    else:
        accumulated = 2 * spec.pairs_per_step // spec.rows_per_batch
    return SFTConfig(
        output_dir=str(Path(spec.pairs).parent / "trl"),
        packing=bool(spec.row_length),
        packing_strategy="bfd",
        max_length=row_length,
        loss_type="nll",
        per_device_train_batch_size=spec.rows_per_batch,
        gradient_accumulation_steps=accumulated,
        train_sampling_strategy="random" if spec.row_length else "group_by_length",
        num_train_epochs=1,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        optim="adamw_torch_fused",
        gradient_checkpointing=False,
        bf16=spec.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=LOOP_SEED,
    )


def _check_tokens(clock: StepClock, pairs: list[BarePair]) -> None:
    seen, there = sum(tokens for _, tokens, _ in clock.steps), sum(pair.tokens for pair in pairs)
    if seen != there:
        raise RuntimeError(f"TRL trained on {seen:.0f} tokens, the pairs have {there}")
