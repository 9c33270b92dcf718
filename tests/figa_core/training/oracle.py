"""A slow and obviously correct loss: one sequence and one token at a time, with full logits.

It shares only the records with the implementation. Formula: FIGA paper, eq. 6 to 8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from figa_core.records import EditClass, WeighedPair
from figa_core.training.job import TrainingJob

KEPT, SUBSTITUTED = EditClass.KEPT, EditClass.SUBSTITUTED
INSERTED, DELETED, END = EditClass.INSERTED, EditClass.DELETED, EditClass.END_OF_TURN


@dataclass(frozen=True)
class Settings:
    """The settings of the loss."""

    objective: str
    alpha: float
    beta: float
    gamma: float
    gate: float | None


def settings_of(job: TrainingJob) -> Settings:
    """The settings of a job."""
    loss = job.loss
    return Settings(loss.objective, loss.alpha, loss.beta, loss.gamma, loss.negative_nll_max)


@dataclass
class Oracle:
    """`loss` is Σ w·term / N, `nearest_to_gate` the smallest distance of a negative token's NLL to the gate,
    and `positive_nll` the mean NLL of the tokens with a positive weight, 0 if there are none.
    """

    loss: torch.Tensor
    counted: int
    nearest_to_gate: float
    positive_nll: float


def answer_nlls(model: torch.nn.Module, prompt: Sequence[int], answer: Sequence[int]) -> list[torch.Tensor]:
    """−log p(token | prompt, tokens before it) of every token of the answer."""
    ids = [*prompt, *answer]
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return [-logits[place - 1].log_softmax(-1)[ids[place]] for place in range(len(prompt), len(ids))]


def oracle(
    model: torch.nn.Module, step: Sequence[WeighedPair], settings: Settings, mean_scale: float = 1.0
) -> Oracle:
    """The loss of one optimizer step of these pairs."""
    total = torch.zeros((), dtype=torch.float64)
    counted = 0
    nearest = float("inf")
    positive: list[float] = []
    sft_answers = {"sft": "reference_ids", "sft_revised": "revision_ids"}
    for pair in step:
        if settings.objective in sft_answers:
            answer = getattr(pair, sft_answers[settings.objective])
            if answer:
                for nll in answer_nlls(model, pair.prompt_ids, answer):
                    total = total + nll
                    counted += 1
                    positive.append(float(nll.detach()))
            continue
        scale = np.float32(pair.scale / mean_scale)  # weights are stored in fp32
        revised = answer_nlls(model, pair.prompt_ids, pair.revision_ids) if pair.revision_ids else []
        factors = pair.revision_factors or (1.0,) * len(revised)
        for nll, edit, factor in zip(revised, pair.revision_classes, factors, strict=True):
            if edit in (INSERTED, SUBSTITUTED, END):
                total = total + float(np.float32(settings.alpha) * np.float32(factor) * scale) * nll
                counted += 1
                positive.append(float(nll.detach()))
            elif edit == KEPT:
                total = total + float(np.float32(settings.gamma) * scale) * nll
                if settings.gamma:
                    positive.append(float(nll.detach()))
        initial = answer_nlls(model, pair.prompt_ids, pair.response_ids) if pair.response_ids else []
        for nll, edit in zip(initial, pair.response_classes, strict=True):
            if edit not in (DELETED, SUBSTITUTED):
                continue
            counted += 1
            weight = float(np.float32(settings.beta) * scale)
            if settings.objective == "unlikelihood":
                probability = torch.exp(-nll).clamp(max=1 - 1e-4)
                total = total + weight * -torch.log(1 - probability)
            elif settings.gate is None:
                total = total - weight * nll
            else:
                nearest = min(nearest, abs(float(nll.detach()) - settings.gate))
                if nll <= settings.gate:
                    total = total - weight * nll
    return Oracle(total / max(counted, 1), counted, nearest, sum(positive) / max(len(positive), 1))
