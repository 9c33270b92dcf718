"""The training loop of one rank: plan, forward and backward, look at the sums, update.

The loss of a step is the sum of its objective's terms over all ranks and micro-batches, divided by a number
of tokens or pairs. That number comes from the plan, which every rank makes of the whole step, and this file
is the one place that divides by it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from figa_core.errors import TrainingError
from figa_core.training import checkpoints
from figa_core.training.batches import MicroBatch, StepPlan, plan_step, step_pairs
from figa_core.training.checkpoints import Checkpoint
from figa_core.training.data import PairData
from figa_core.training.engine import Update, ZeroEngine
from figa_core.training.job import TrainingJob
from figa_core.training.loss import token_nll
from figa_core.training.metrics import StepMetrics
from figa_core.training.metrics_log import MetricsLog
from figa_core.training.objectives.base import Objective, Predictions, Terms
from figa_core.training.objectives.registry import make_objective

Clock = Callable[[], float]

# AdamW keeps squares, in float32: beyond this they are infinite, and the weights never move again.
_GRADIENT_MAX = 1e19


class OtherRankError(TrainingError):
    """This rank stops because of another one, whose error says more."""


class Runs(Protocol):
    """What forward and backward need of an engine."""

    def logits(self, batch: MicroBatch, /) -> torch.Tensor:
        """Logits (K, V) of the batch's weighted tokens."""
        ...

    def tensor(self, array: Any, /) -> torch.Tensor:
        """A numpy array on the engine's device."""
        ...

    def backward(self, loss: torch.Tensor, /) -> None:
        """Add the gradient of a part of the loss."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingEnd:
    """The last step that was done, less than the job's where somebody asked to stop.

    `skipped` steps had nothing to learn from, `overflowed` ones a gradient that was not finite; neither
    updated a weight. Steps before a resumption count too, on rank 0.
    """

    step: int
    skipped: int
    overflowed: int


def _never() -> bool:
    return False


def train(
    job: TrainingJob,
    engine: ZeroEngine,
    data: PairData,
    *,
    stop: Callable[[], bool] = _never,
    clock: Clock = time.perf_counter,
) -> TrainingEnd:
    """Run the job's steps, from the last whole checkpoint if there is one.

    Where `stop` is true on any rank, all of them end before the same step, with a checkpoint.

    Raises:
        TrainingError: shards that do not fit the model or the budget, a loss that is not finite, gradients
            that are not finite in most steps, or a checkpoint that cannot be written.
    """
    objective = make_objective(job.loss)
    _check(job, engine, data, objective)
    started = clock()
    resumed = checkpoints.last_whole(job)
    if resumed is not None:
        engine.load_state(checkpoints.checkpoints_dir(job), resumed.tag)
    saved, seconds_before = (resumed.step, resumed.seconds) if resumed else (0, 0.0)
    done = saved
    engine.barrier()
    log = MetricsLog(job, after_step=done, active=engine.rank == 0)
    while done < job.steps:
        checkpoint_due = done % job.training.checkpoint_steps == 0
        stopping = engine.total(float(stop()))[0] > 0
        if done > saved and (checkpoint_due or stopping):
            _save(job, engine, done, seconds_before + clock() - started)
            saved = done
        if stopping:
            break
        begun, step = clock(), done + 1
        plan = plan_of(job, engine, data, objective, step)
        log.write(_run_step(job, engine, data, objective, plan, step, begun, clock))
        done = step
    return TrainingEnd(done, log.skipped, log.overflowed)


def accumulate(
    engine: Runs, batches: Sequence[MicroBatch], objective: Objective, divisor: int
) -> list[Terms]:
    """Forward and backward of one rank's micro-batches; the gradient is that of their terms / `divisor`."""
    found: list[Terms] = []
    for batch in batches:
        predictions = _predict(engine, batch)
        terms = objective.terms(predictions) if batch.pairs else _nothing(predictions, objective)
        engine.backward(terms.loss / divisor)
        found.append(Terms(terms.loss.detach(), terms.figures))
    return found


def _predict(engine: Runs, batch: MicroBatch) -> Predictions:
    logits_KV = engine.logits(batch)
    weights_K, reference_K = engine.tensor(batch.weights_K), batch.reference_log_probs_K
    return Predictions(
        nll_K=token_nll(logits_KV, engine.tensor(batch.targets_K), weights_K),
        weights_K=weights_K,
        counts=batch.counts,
        pairs=batch.pairs,
        answers=batch.answers,
        reference_log_probs_K=None if reference_K is None else engine.tensor(reference_K),
    )


def _nothing(predictions: Predictions, objective: Objective) -> Terms:
    """Those of a dummy: zero, with a gradient of zeros for the collectives of the backward pass."""
    zero = (predictions.weights_K * predictions.nll_K).sum()
    return Terms(zero, {figure.name: (zero.detach(), zero.detach()) for figure in objective.figures})


def _run_step(
    job: TrainingJob,
    engine: ZeroEngine,
    data: PairData,
    objective: Objective,
    plan: StepPlan,
    step: int,
    begun: float,
    clock: Clock,
) -> StepMetrics:
    if plan.weighted == 0:
        totals = [0.0] * (1 + 2 * len(objective.figures))
        return _metrics(job, objective, plan, step, totals, Update(applied=False), clock() - begun)
    # Seeded by step and rank, so that dropout is the same after a resumption.
    torch.manual_seed((job.training.seed << 32) + step * engine.ranks + engine.rank)
    terms = accumulate(engine, plan.micro_batches, objective, max(plan.counted, 1))
    totals = engine.total(*_rank_totals(objective, terms))
    _check_finite(data, plan, terms, totals[0], step)
    update = engine.step()
    _check_update(plan, update, step)
    return _metrics(job, objective, plan, step, totals, update, clock() - begun)


def _rank_totals(objective: Objective, terms: Sequence[Terms]) -> list[float]:
    """The loss, then of each figure its sum and its count."""
    rows = [
        [one.loss, *(value for figure in objective.figures for value in one.figures[figure.name])]
        for one in terms
    ]
    device = terms[0].loss.device
    doubles = [
        torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device) for value in row])
        for row in rows
    ]
    return torch.stack(doubles).sum(dim=0).tolist()


def _metrics(
    job: TrainingJob,
    objective: Objective,
    plan: StepPlan,
    step: int,
    totals: Sequence[float],
    update: Update,
    seconds: float,
) -> StepMetrics:
    loss, *figures = totals
    by_figure = zip(objective.figures, figures[::2], figures[1::2], strict=True)
    return StepMetrics(
        step=step,
        loss=loss / max(plan.counted, 1),
        counted=plan.counted,
        tokens=plan.tokens,
        pairs=len(plan.pairs),
        seconds=round(seconds, 4),
        learning_rate=job.training.learning_rate,
        grad_norm=update.grad_norm,
        skipped=plan.weighted == 0,
        overflowed=plan.weighted > 0 and not update.applied,
        figures={figure.name: total / count if count else None for figure, total, count in by_figure},
    )


def plan_of(
    job: TrainingJob, engine: ZeroEngine, data: PairData, objective: Objective, step: int
) -> StepPlan:
    """This rank's plan of a step."""
    return plan_step(
        data,
        step_pairs(step, pairs=len(data), pairs_per_step=job.pairs_per_step, seed=job.training.seed),
        objective,
        rank=engine.rank,
        ranks=engine.ranks,
        tokens_per_batch=job.training.tokens_per_batch,
        packing=engine.packs,
        tail_cut=job.levers.tail_cut,
    )


def _check(job: TrainingJob, engine: ZeroEngine, data: PairData, objective: Objective) -> None:
    data.check_log_probs(objective)
    data.check_vocabulary(engine.vocabulary)
    budget = job.training.tokens_per_batch
    data.check_length(objective, budget, "training.tokens_per_batch", together=objective.whole_pairs)
    if engine.max_positions is not None:
        data.check_length(objective, engine.max_positions, "the model's max_position_embeddings")


def _check_finite(data: PairData, plan: StepPlan, terms: Sequence[Terms], total: float, step: int) -> None:
    """Stop before the optimizer step; the rank at fault names the pairs."""
    if abs(total) < float("inf"):
        return
    for batch, result in zip(plan.micro_batches, terms, strict=True):
        if not torch.isfinite(result.loss):
            names = ", ".join(data.pair_id(pair) for pair in dict.fromkeys(batch.pairs))
            raise TrainingError(
                f"step {step}: the loss is {float(result.loss)} in the micro-batch of pairs {names}. "
                "Nothing was updated. Lower the learning rate, keep the gate on, or exclude these pairs."
            )
    raise OtherRankError(f"step {step}: the loss is {total}; another rank names the pairs.")


def _check_update(plan: StepPlan, update: Update, step: int) -> None:
    """Some of DeepSpeed's optimizers leave an infinite gradient out, others use it."""
    if update.applied and update.grad_norm is not None and not update.grad_norm < _GRADIENT_MAX:
        raise TrainingError(
            f"step {step}: the gradient of its {len(plan.pairs)} pairs has a norm of {update.grad_norm:.3g}, "
            "and the update was made with it. Nothing is exported; the checkpoint before stays. Keep the "
            "gate on (loss.negative_nll_max), lower the learning rate, or look at the weights of the model "
            "that the training began from."
        )


def _save(job: TrainingJob, engine: ZeroEngine, step: int, seconds: float) -> None:
    checkpoint = Checkpoint(
        step,
        engine.ranks,
        job.training.zero_stage,
        job.training.dtype,
        round(seconds, 3),
        checkpoints.tag_of(step),
    )
    checkpoints.save(job, checkpoint, engine.save_state)
    engine.barrier()
    if engine.rank == 0:
        checkpoints.mark_whole(job, checkpoint)
