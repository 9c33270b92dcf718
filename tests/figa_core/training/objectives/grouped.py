"""A step of an objective over all ranks and micro-batches, in this process."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from figa_core.config.training import LossConfig
from figa_core.records import WeighedPair
from figa_core.training import reference_log_probs
from figa_core.training.batches import StepPlan
from figa_core.training.data import PairData
from figa_core.training.objectives.base import Terms
from figa_core.training.objectives.registry import make_objective
from tests.figa_core.training.jobs import PlainEngine, step_of_all_ranks, write_set
from tests.figa_core.training.objectives.plain import BAD, GOOD
from tests.figa_core.training.oracle import answer_nlls


@dataclass
class Found:
    """What a step gave; `gradients` are in the order of the model's parameters."""

    loss: float
    plans: list[StepPlan]
    terms: list[Terms]
    gradients: list[torch.Tensor]

    def figure(self, name: str) -> float:
        """A figure of the step, as the loop reports it."""
        total, count = (sum(float(terms.figures[name][part]) for terms in self.terms) for part in (0, 1))
        return total / count


def write_log_probs(directory: Path, reference: torch.nn.Module, pairs: Sequence[WeighedPair]) -> None:
    """Log-probabilities of Ỹ and Ŷ by plain torch."""
    answers = ("revision", "response")
    columns: dict[str, list[Any]] = {"pair_id": [pair.pair_id for pair in pairs]}
    for answer in answers:
        columns[answer] = []
        for pair in pairs:
            with torch.no_grad():
                ids = getattr(pair, f"{answer}_ids")
                nlls = answer_nlls(reference, pair.prompt_ids, ids) if ids else []
            columns[answer].append([-float(nll) for nll in nlls])
    schema = reference_log_probs.schema_of(answers)
    table = pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)
    reference_log_probs.write(directory, answers, iter([table]))


def run_step(
    model: torch.nn.Module,
    reference: torch.nn.Module,
    pairs: Sequence[WeighedPair],
    loss: LossConfig,
    *,
    ranks: int = 1,
    **how: Any,
) -> Found:
    """Loss, figures and gradients of one optimizer step of these pairs."""
    objective = make_objective(loss)
    with tempfile.TemporaryDirectory() as directory:
        shards, log_probs = Path(directory) / "set", Path(directory) / "log-probs"
        write_set(shards, pairs)
        if objective.reference_log_probs:
            write_log_probs(log_probs, reference, pairs)
        given = log_probs if objective.reference_log_probs else None
        data = PairData(shards, given, word_ids=dict(zip(objective.words(), (GOOD, BAD), strict=False)))
    settings = {"tokens_per_batch": 4096, "packing": False, "tail_cut": True} | how
    plans, terms = step_of_all_ranks(
        PlainEngine(model), data, range(len(pairs)), objective, ranks, **settings
    )
    total = sum(float(one.loss) for one in terms) / max(plans[0].counted, 1)
    return Found(total, plans, terms, gradients_of(model))


def gradients_of(model: torch.nn.Module) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
