"""The training loop of one rank: plan, forward and backward, look at the sums, update.

The loss of a step is Σ w·term / N over all ranks and micro-batches. N comes from the plan, which every rank
makes of the whole step, and this file is the one place that divides by it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from figa_core.errors import TrainingError
from figa_core.training import checkpoints
from figa_core.training.batches import MicroBatch, StepPlan, plan_step, step_pairs
from figa_core.training.checkpoints import Checkpoint
from figa_core.training.data import PairData
from figa_core.training.engine import Update, ZeroEngine
from figa_core.training.job import TrainingJob
from figa_core.training.loss import LossSums, weighted_nll, weighted_unlikelihood
from figa_core.training.metrics import StepMetrics, keep_until, read_metrics, to_line
from figa_core.training.objectives import Recipe, recipe

Clock = Callable[[], float]

# The data of a step is not what makes so many gradients in a row infinite: the weights are.
_OVERFLOWS_IN_A_ROW = 20
# AdamW keeps squares, in float32: beyond this they are infinite, and the weights never move again.
_GRADIENT_MAX = 1e19


class OtherRankError(TrainingError):
    """This rank stops because of another one, whose error says more."""


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
    settings = recipe_of(job)
    _check(job, engine, data, settings)
    started = clock()
    resumed = checkpoints.last_whole(job)
    if resumed is not None:
        engine.load_state(checkpoints.checkpoints_dir(job), resumed.tag)
    saved, seconds_before = (resumed.step, resumed.seconds) if resumed else (0, 0.0)
    done = saved
    engine.barrier()
    log = _MetricsLog(job, after_step=done, active=engine.rank == 0)
    while done < job.steps:
        checkpoint_due = done % job.checkpoint_steps == 0
        stopping = engine.total(float(stop()))[0] > 0
        if done > saved and (checkpoint_due or stopping):
            _save(job, engine, done, seconds_before + clock() - started)
            saved = done
        if stopping:
            break
        begun, step = clock(), done + 1
        plan = _plan(job, engine, data, settings, step)
        log.write(_run_step(job, engine, data, settings, plan, step, begun, clock))
        done = step
    return TrainingEnd(done, log.skipped, log.overflowed)


def recipe_of(job: TrainingJob) -> Recipe:
    """The job's objective with its settings."""
    return recipe(
        job.objective,
        alpha=job.alpha,
        beta=job.beta,
        gamma=job.gamma,
        negative_nll_max=job.negative_nll_max,
    )


def accumulate(
    engine: ZeroEngine, batches: Sequence[MicroBatch], settings: Recipe, counted: int
) -> list[LossSums]:
    """Forward and backward of one rank's micro-batches; the gradient is that of Σ w·term / `counted`."""
    sums: list[LossSums] = []
    for batch in batches:
        logits_KV = engine.logits(batch)
        targets_K, weights_K = engine.tensor(batch.targets_K), engine.tensor(batch.weights_K)
        if settings.unlikelihood:
            result = weighted_unlikelihood(logits_KV, targets_K, weights_K)
        else:
            result = weighted_nll(logits_KV, targets_K, weights_K, settings.negative_nll_max)
        engine.backward(result.weighted_sum / counted)
        sums.append(LossSums(*(value.detach() for value in result)))
    return sums


def _run_step(
    job: TrainingJob,
    engine: ZeroEngine,
    data: PairData,
    settings: Recipe,
    plan: StepPlan,
    step: int,
    begun: float,
    clock: Clock,
) -> StepMetrics:
    if plan.weighted == 0:
        return _metrics(job, plan, step, (0.0,) * 5, Update(applied=False), clock() - begun)
    # Seeded by step and rank, so that dropout is the same after a resumption.
    torch.manual_seed((job.seed << 32) + step * engine.ranks + engine.rank)
    sums = accumulate(engine, plan.micro_batches, settings, max(plan.counted, 1))
    rank_totals = (
        torch.stack([torch.stack([value.double() for value in one]) for one in sums]).sum(dim=0).tolist()
    )
    totals = engine.total(*rank_totals)
    _check_finite(data, plan, sums, totals[0], step)
    update = engine.step()
    _check_update(plan, update, step)
    return _metrics(job, plan, step, totals, update, clock() - begun)


def _metrics(
    job: TrainingJob,
    plan: StepPlan,
    step: int,
    totals: Sequence[float],
    update: Update,
    seconds: float,
) -> StepMetrics:
    weighted_sum, positive_nll, positives, negatives, gated = totals
    return StepMetrics(
        step=step,
        loss=weighted_sum / max(plan.counted, 1),
        positive_nll=positive_nll / positives if positives else None,
        negatives_gated_share=gated / negatives if negatives else None,
        counted=plan.counted,
        tokens=plan.tokens,
        pairs=len(plan.pairs),
        seconds=round(seconds, 4),
        learning_rate=job.learning_rate,
        grad_norm=update.grad_norm,
        skipped=plan.weighted == 0,
        overflowed=plan.weighted > 0 and not update.applied,
    )


def _plan(job: TrainingJob, engine: ZeroEngine, data: PairData, settings: Recipe, step: int) -> StepPlan:
    return plan_step(
        data,
        step_pairs(step, pairs=len(data), pairs_per_step=job.pairs_per_step, seed=job.seed),
        settings,
        rank=engine.rank,
        ranks=engine.ranks,
        tokens_per_batch=job.tokens_per_batch,
        packing=engine.packs,
        tail_cut=job.levers.tail_cut,
    )


def _check(job: TrainingJob, engine: ZeroEngine, data: PairData, settings: Recipe) -> None:
    data.check_vocabulary(engine.vocabulary)
    data.check_length(settings, job.tokens_per_batch, "training.tokens_per_batch")
    if engine.max_positions is not None:
        data.check_length(settings, engine.max_positions, "the model's max_position_embeddings")


def _check_finite(data: PairData, plan: StepPlan, sums: Sequence[LossSums], total: float, step: int) -> None:
    """Stop before the optimizer step; the rank at fault names the pairs."""
    if abs(total) < float("inf"):
        return
    for batch, result in zip(plan.micro_batches, sums, strict=True):
        if not torch.isfinite(result.weighted_sum):
            names = ", ".join(data.pair_id(pair) for pair in dict.fromkeys(batch.pairs))
            raise TrainingError(
                f"step {step}: the loss is {float(result.weighted_sum)} in the micro-batch of pairs {names}. "
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
        step, engine.ranks, job.zero_stage, job.dtype, round(seconds, 3), checkpoints.tag_of(step)
    )
    checkpoints.save(job, checkpoint, engine.save_state)
    engine.barrier()
    if engine.rank == 0:
        checkpoints.mark_whole(job, checkpoint)


class _MetricsLog:
    """Appends to metrics.jsonl on rank 0, and counts the steps without an update, those before a resumption
    included.
    """

    def __init__(self, job: TrainingJob, *, after_step: int, active: bool) -> None:
        self._job, self._active = job, active
        self.skipped = self.overflowed = self._overflows_in_a_row = 0
        if active:
            keep_until(job.metrics_path, after_step)
            for metrics in read_metrics(job.metrics_path):
                self._count(metrics)

    def write(self, metrics: StepMetrics) -> None:
        """Raises TrainingError once it is certain that most updates are left out."""
        self._count(metrics)
        if self._active:
            with self._job.metrics_path.open("a", encoding="utf-8") as file:
                file.write(to_line(metrics))
        most = 2 * self.overflowed > self._job.steps - self.skipped
        if most or self._overflows_in_a_row >= _OVERFLOWS_IN_A_ROW:
            raise TrainingError(
                f"step {metrics.step} of {self._job.steps}: in {self.overflowed} of them the gradient was "
                "not finite, and DeepSpeed left the update out: the model is hardly trained, so nothing is "
                "exported. Keep the gate on (loss.negative_nll_max), lower the learning rate, train in "
                "float32, or look at the weights of the model that the training began from."
            )

    def _count(self, metrics: StepMetrics) -> None:
        self.skipped += metrics.skipped
        self.overflowed += metrics.overflowed
        if not metrics.skipped:
            self._overflows_in_a_row = self._overflows_in_a_row + 1 if metrics.overflowed else 0
