"""The training loop of one rank: plan, forward and backward, check the sums, update.

The loss of a step is the sum of its objective's terms over all ranks and micro-batches, divided by a number
of tokens or pairs. The number comes from the plan, which every rank makes for the whole step. It is divided
by in this file only.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from figa_core.errors import DivergedTrainingError
from figa_core.processes.tell import tell
from figa_core.training import checkpoints
from figa_core.training.alarms import Alarm
from figa_core.training.batches import StepPlan, plan_step, step_pairs
from figa_core.training.data import PairData
from figa_core.training.engine import Update, ZeroEngine
from figa_core.training.failures import OtherRankError
from figa_core.training.going_back import goes_back
from figa_core.training.held_out import looks_in
from figa_core.training.job import TrainingJob
from figa_core.training.judge import Judge, measure_of
from figa_core.training.metrics import MetricsLog, StepMetrics, read_metrics
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.objectives.base import Objective, Terms
from figa_core.training.objectives.registry import make_objective
from figa_core.training.prefixes import GRAIN
from figa_core.training.saving import going_on, save_on_all_ranks
from figa_core.training.terms import terms_of, totals_of
from figa_core.training.watch import Watch, Watched

Clock = Callable[[], float]

# AdamW keeps squares in float32: beyond this they are infinite, and the weights never change again.
_GRADIENT_MAX = 1e19


class Runs(Protocol):
    """What forward and backward need of an engine; see `ZeroEngine`."""

    def logits(self, batch: MicroBatch, /) -> torch.Tensor: ...
    def tensor(self, array: Any, /) -> torch.Tensor: ...
    def backward(self, loss: torch.Tensor, /) -> None: ...


@dataclass(frozen=True, slots=True)
class TrainingEnd:
    """How `train` ended: all steps of the result are `done`, or it stopped after `step`.

    `over`: no step is left, but an earlier one may be the result. `skipped` and `overflowed` as in
    `MetricsLog`, `alarms` are all of the training's so far.
    """

    done: bool
    over: bool
    step: int
    skipped: int
    overflowed: int
    alarms: tuple[Alarm, ...]
    watched: Watched | None


def train(
    job: TrainingJob,
    engine: ZeroEngine,
    data: PairData,
    *,
    apart: PairData | None = None,
    stop: Callable[[], bool] = lambda: False,
    clock: Clock = time.perf_counter,
) -> TrainingEnd:
    """Run the job's steps, from the last whole checkpoint if there is one. `apart`: the held-out pairs.

    If `stop` is true on any rank, all of them end before the same step, with a checkpoint. If an alarm ends
    the training, they end after that step, without one; and after the last step, if an earlier one is the
    result. In these cases the training is not `done`.

    Raises:
        TrainingError: shards that do not fit the model or the budget, a loss that is not finite, gradients
            that are not finite in most steps, or the checkpoint of a training that is asked to stop cannot be
            written. Any other checkpoint that cannot be written is only told.
    """
    steps = Steps(job, engine, data)
    steps.check()
    started = clock()
    watch = Watch(job, engine, data, make_objective(job.loss), clock)  # while the weights are the base's
    resumed = checkpoints.last_whole(job)
    if resumed is not None:
        directory, same_layout = checkpoints.checkpoints_dir(job), resumed.is_laid_out_for(job)
        engine.load_state(directory, resumed.tag, same_layout=same_layout)
    saved, seconds_before = (resumed.step, resumed.seconds) if resumed else (0, 0.0)
    judge = _judge(job, engine, apart, saved)
    engine.barrier()
    log = MetricsLog(job, after_step=saved, active=engine.rank == 0)
    before = judge.before() if saved == 0 else {}
    while log.step < watch.last_step and not watch.ended and not judge.ended:
        checkpoint_due = log.step % job.training.checkpoint_steps == 0
        stopping = engine.total(float(stop()))[0] > 0
        if log.step > saved and (checkpoint_due or stopping):
            seconds = seconds_before + clock() - started
            results = {watch.good_step(log.step), judge.result_step(log.step)}
            if _is_saved(job, engine, log.step, seconds, results, last=stopping):
                saved = log.step
        if stopping:
            break
        metrics = steps.run(log.step + 1, clock)
        found = {**watch.figures(metrics.step), **judge.figures(metrics.step), **before}
        log.write(replace(metrics, figures={**metrics.figures, **found}))
        before = {}
    over = log.step == watch.last_step or judge.ended
    done = over and not watch.ended and judge.result_step(log.step) == log.step
    return TrainingEnd(done, over, log.step, log.skipped, log.overflowed, watch.alarms, watch.record())


def _judge(job: TrainingJob, engine: ZeroEngine, apart: PairData | None, saved: int) -> Judge:
    """The judge of a training that is resumed after step `saved`; it does nothing on the way back."""
    measure, plan = measure_of(make_objective(job.loss)), None
    if apart is not None and not goes_back(job):
        steps = Steps(job, engine, apart, measure)
        steps.check()
        plan = steps.plan_of(range(len(apart)))
    looks = looks_in(step for step in read_metrics(job.metrics_path) if step.step <= saved)
    return Judge(job, engine, plan, measure, looks)


def accumulate(
    engine: Runs, batches: Sequence[MicroBatch], objective: Objective, divisor: int
) -> list[Terms]:
    """Forward and backward of one rank's micro-batches; the gradient is that of their terms / `divisor`."""
    found: list[Terms] = []
    for batch in batches:
        terms = terms_of(engine.logits(batch), batch, objective, engine.tensor)
        engine.backward(terms.loss / divisor)
        found.append(Terms(terms.loss.detach(), terms.figures))
    return found


class Steps:
    """The optimizer steps of one rank."""

    def __init__(
        self, job: TrainingJob, engine: ZeroEngine, data: PairData, objective: Objective | None = None
    ) -> None:
        self._job, self._engine, self._data = job, engine, data
        self._objective = objective or make_objective(job.loss)

    def check(self) -> None:
        """Raises TrainingError for shards that do not fit the model, the objective or the budget."""
        data, objective, engine = self._data, self._objective, self._engine
        data.check_log_probs(objective)
        data.check_vocabulary(engine.vocabulary)
        budget = self._job.training.tokens_per_batch
        data.check_length(objective, budget, "training.tokens_per_batch", together=objective.whole_pairs)
        if engine.max_positions is not None:
            data.check_length(objective, engine.max_positions, "the model's max_position_embeddings")

    def plan(self, step: int) -> StepPlan:
        """This rank's plan of a step."""
        size, seed = self._job.pairs_per_step, self._job.training.seed
        return self.plan_of(step_pairs(step, pairs=len(self._data), pairs_per_step=size, seed=seed))

    def plan_of(self, pairs: Sequence[int]) -> StepPlan:
        """This rank's part of these pairs."""
        job = self._job
        return plan_step(
            self._data,
            pairs,
            self._objective,
            rank=self._engine.rank,
            ranks=self._engine.ranks,
            tokens_per_batch=job.training.tokens_per_batch,
            packing=self._engine.packs,
            tail_cut=job.levers.tail_cut,
            grain=GRAIN if self._engine.shares else None,
        )

    def run(self, step: int, clock: Clock) -> StepMetrics:
        """Plan a step, accumulate its gradient and update the weights.

        Raises:
            TrainingError: the loss or the gradient is not finite.
        """
        begun, engine = clock(), self._engine
        plan, rate = self.plan(step), self._job.learning_rate_at(step)
        totals, update = [0.0] * (1 + 2 * len(self._objective.reported)), Update(applied=False)
        if plan.weighted:
            # Seeded by step and rank, so that dropout is the same after a resumption.
            torch.manual_seed((self._job.training.seed << 32) + step * engine.ranks + engine.rank)
            terms = accumulate(engine, plan.micro_batches, self._objective, max(plan.counted, 1))
            totals = engine.total(*totals_of(self._objective, terms))
            _check_finite(self._data, plan, terms, totals[0], step)
            update = engine.step(rate)
            _check_update(plan, update, step)
        loss, *figures = totals
        by_figure = zip(self._objective.reported, figures[::2], figures[1::2], strict=True)
        return StepMetrics(
            step=step,
            loss=loss / max(plan.counted, 1),
            counted=plan.counted,
            tokens=plan.tokens,
            pairs=len(plan.pairs),
            seconds=round(clock() - begun, 4),
            learning_rate=rate,
            grad_norm=update.grad_norm,
            skipped=plan.weighted == 0,
            overflowed=plan.weighted > 0 and not update.applied,
            figures={figure.name: total / count if count else None for figure, total, count in by_figure},
        )


def _check_finite(data: PairData, plan: StepPlan, terms: Sequence[Terms], total: float, step: int) -> None:
    """Stop before the optimizer step; the rank at fault names the pairs."""
    if abs(total) < float("inf"):
        return
    for batch, result in zip(plan.micro_batches, terms, strict=True):
        if not torch.isfinite(result.loss):
            names = ", ".join(data.pair_id(pair) for pair in dict.fromkeys(batch.pairs))
            raise DivergedTrainingError(
                f"step {step}: the loss is {float(result.loss)} in the micro-batch of pairs {names}. "
                "Nothing was updated. Lower the learning rate, keep the gate on, or exclude these pairs."
            )
    raise OtherRankError(f"step {step}: the loss is {total}; another rank names the pairs.")


def _check_update(plan: StepPlan, update: Update, step: int) -> None:
    """Some of DeepSpeed's optimizers skip the update for an infinite gradient, others make it."""
    if update.applied and update.grad_norm is not None and not update.grad_norm < _GRADIENT_MAX:
        raise DivergedTrainingError(
            f"step {step}: the gradient of its {len(plan.pairs)} pairs has a norm of {update.grad_norm:.3g}, "
            "and the update was made with it. Nothing is exported; the last checkpoint is kept. Keep the "
            "gate on (loss.negative_nll_max), lower the learning rate, or check the weights of the model "
            "that the training began from."
        )


def _is_saved(
    job: TrainingJob, engine: ZeroEngine, step: int, seconds: float, results: Collection[int], *, last: bool
) -> bool:
    """Write a checkpoint. If that fails, the training goes on, unless it was the `last` thing to do."""
    checkpoint = checkpoints.checkpoint_of(job, step, seconds)
    error = save_on_all_ranks(job, engine, checkpoint, results)
    if error is None:
        return True
    if last:
        raise error
    if not isinstance(error, OtherRankError):
        tell(going_on(error, job, step), logging.WARNING)
    return False
