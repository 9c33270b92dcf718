"""Compares our gradients with those of the reference recipe, for the pairs of the first step.

The reference divides each micro-batch by the micro-batch's own count, which is a mistake, not rounding. Here
both divide by the step's N.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from figa_core.training import loop
from figa_core.training.data import PairData
from figa_core.training.engine import ZeroEngine
from figa_core.training.objectives.registry import make_objective
from tests.benchmarks import ours, reference_recipe
from tests.benchmarks.bare_pairs import read_steps
from tests.benchmarks.measure import Agreement
from tests.benchmarks.spec import Spec

Gradients = dict[str, torch.Tensor]


def run(spec: Spec) -> Agreement:
    """Compute both gradients; in fp32 on a GPU too."""
    mine, counted = our_gradients(spec)
    theirs = reference_gradients(spec, counted)
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    difference = max(float((mine[name] - theirs[name]).abs().max()) for name in theirs)
    return Agreement(difference / largest)


def our_gradients(spec: Spec) -> tuple[Gradients, int]:
    """Gradients of the first step through the real engine, and N."""
    ours.join_alone()
    data = PairData(Path(spec.shards))
    with tempfile.TemporaryDirectory() as scratch:
        job = ours.job_of(spec, Path(scratch))
        # With a learning rate of 1, SGD changes every weight by its gradient.
        engine = ZeroEngine(job, make_optimizer=lambda parameters, _: torch.optim.SGD(parameters, lr=1.0))
        objective = make_objective(job.loss)
        plan = loop.Steps(job, engine, data).plan(1)
        before = _weights(engine)
        loop.accumulate(engine, plan.micro_batches, objective, plan.counted)
        engine.step(1.0)
        after = _weights(engine)
        engine.close()
    return {name: before[name] - after[name] for name in before}, plan.counted


def reference_gradients(spec: Spec, counted: int) -> Gradients:
    """Gradients of the reference recipe for the same pairs, divided by `counted`."""
    settings = reference_recipe.Settings(spec.alpha, spec.beta, spec.negative_nll_max)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: Any = AutoModelForCausalLM.from_pretrained(spec.model, dtype=torch.float32, local_files_only=True)
    model.to(device)
    pairs = read_steps(Path(spec.pairs))[0]
    for first in range(0, len(pairs), reference_recipe.PAIRS_PER_BATCH):
        rows = reference_recipe.collate(pairs[first : first + reference_recipe.PAIRS_PER_BATCH], settings)
        rows = reference_recipe.Rows(*(tensor.to(device) for tensor in rows))
        weighted_sum, _ = reference_recipe.weighted_loss(model, rows, settings)
        (weighted_sum / counted).backward()
    return {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}


def _weights(engine: ZeroEngine) -> Gradients:
    return {name: p.detach().float().cpu().clone() for name, p in engine.model.named_parameters()}
