"""A training by PyTorch and transformers alone: AdamW, `get_scheduler` and `clip_grad_norm_`.

The loss is the oracle's. It shares the settings and the order of the pairs with the implementation.
"""

import math
from collections.abc import Sequence
from typing import Any

import peft
import torch
from torch.nn.utils import clip_grad_norm_
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, get_scheduler

from figa_core.records import WeighedPair
from figa_core.training.batches import step_pairs
from figa_core.training.job import TrainingJob
from tests.figa_core.training.oracle import oracle, settings_of

NF4 = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=torch.float32,
)


def train_plainly(
    job: TrainingJob, pairs: Sequence[WeighedPair]
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """What each weight lost over the training, by name, and the norms of the gradients before clipping.

    With LoRA the weights are those of the updates, which peft draws by the training's seed.
    """
    how = {"quantization_config": NF4} if job.training.lora.quantize else {}
    model: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32, **how)
    model.train()  # a CPU with bfloat16 instructions would round what passes through 4-bit weights
    if job.training.lora.rank is not None:
        _add_lora(model, job)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    optimizer, scheduler = _optimizer(model, job)
    mean_scale = sum(pair.scale for pair in pairs) / len(pairs)
    limit = job.training.optimizer.gradient_norm_max
    norms: list[float] = []
    for step in range(1, job.steps + 1):
        chosen = step_pairs(step, pairs=len(pairs), pairs_per_step=job.pairs_per_step, seed=job.training.seed)
        oracle(model, [pairs[pair] for pair in chosen], settings_of(job), mean_scale).loss.backward()
        norms.append(float(clip_grad_norm_(model.parameters(), math.inf if limit is None else limit)))
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return {name: before[name] - parameter.detach() for name, parameter in trained.items()}, norms


def _add_lora(model: torch.nn.Module, job: TrainingJob) -> None:
    lora = job.training.lora
    assert (lora.alpha, lora.target_modules) == ("auto", ("all-linear",))
    assert lora.rank is not None
    torch.manual_seed(job.training.seed)
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=2 * lora.rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    peft.get_peft_model(model, config)  # pyright: ignore[reportArgumentType] - a transformers model


def _optimizer(model: torch.nn.Module, job: TrainingJob) -> tuple[torch.optim.Optimizer, Any]:
    settings, schedule = job.training.optimizer, job.training.schedule
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    spared = [parameter for name, parameter in trained if "norm" in name]
    others = [parameter for name, parameter in trained if "norm" not in name]
    optimizer = torch.optim.AdamW(
        [{"params": others}, {"params": spared, "weight_decay": 0.0}],
        lr=job.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )
    name = "constant_with_warmup" if schedule.kind == "constant" else schedule.kind
    warmup = math.ceil(job.steps * schedule.warmup_share)
    return optimizer, get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=job.steps)
