"""Examines a training's model on a few pairs, beside the base model: forward passes only.

The pairs are drawn from the shard set with the training's seed. Their revisions are read; for an objective
that reads no revision, the answers that it reads. The base model's predictions are kept in memory. A resumed
training computes them again, from the same weights, before it loads its checkpoint.

Shapes: K watched tokens of a micro-batch, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from figa_core.records import EditClass
from figa_core.training.alarms import ProbeValues
from figa_core.training.batches import Layout, share_of_rank, steps_per_epoch
from figa_core.training.data import PairData
from figa_core.training.job import TrainingJob
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.objectives.base import Answer, Objective
from figa_core.training.prefixes import GRAIN, tree_tokens
from figa_core.training.probe_plan import Candidate, ProbePlan, Size, plan_probe
from figa_core.training.sequence import TrainingSequence

_DRAWN = 256  # pairs: their mean length is taken as that of all, and the probe's are among them
_BASE_FLOATS = 16_000_000  # of the base model's predictions on all ranks together: 64 MB
_KEPT, _END = 1.0, 2.0
_STREAM = 1  # of the seed: not the order of any epoch


class Reads(Protocol):
    """What a probe needs of an engine; see `ZeroEngine`."""

    rank: int
    ranks: int
    packs: bool
    vocabulary: int

    def size(self) -> Size: ...
    def logits_to_read(self, batch: MicroBatch, /) -> torch.Tensor: ...
    def tensor(self, array: np.ndarray, /) -> torch.Tensor: ...
    def total(self, *values: float) -> list[float]: ...


class Probe:
    """One rank's part. `plan` says when to examine the model, and is None for a training that is too short.

    Creating it examines the base model, so the engine must not have loaded a checkpoint yet. Like
    `values`, all ranks do it at once.
    """

    def __init__(self, job: TrainingJob, engine: Reads, data: PairData, objective: Objective) -> None:
        self._engine = engine
        self._answer: Answer = _watched_answer(objective)
        self.plan: ProbePlan | None = self._plan(job, data, objective)
        self._batches: tuple[MicroBatch, ...] = ()
        self._base_KV: list[torch.Tensor] = []
        if self.plan is None:
            return
        self._batches = share_of_rank(
            [[(self._sequence(data, pair),)] for pair in self.plan.pairs],
            Layout(job.training.tokens_per_batch, packing=engine.packs),
            rank=engine.rank,
            ranks=engine.ranks,
        )
        self._base_KV = [log_p_KV.cpu() for log_p_KV in self._log_probs()]
        self.base = self.values()

    @torch.no_grad()
    def values(self) -> ProbeValues:
        """The model's values now, over the tokens of all ranks."""
        sums = torch.zeros(5, dtype=torch.float64)
        for batch, log_p_KV, base_KV in zip(self._batches, self._log_probs(), self._base_KV, strict=True):
            if batch.pairs:
                sums += self._sums(batch, log_p_KV, base_KV.to(log_p_KV.device)).cpu()
        kept, nll, kl, ends, end_p = self._engine.total(*sums.tolist())
        return ProbeValues(
            nll_unchanged=nll / kept if kept else None,
            kl_from_base=kl / kept if kept else None,
            end_of_turn_probability=end_p / ends if ends else None,
        )

    def _sums(self, batch: MicroBatch, log_p_KV: torch.Tensor, base_KV: torch.Tensor) -> torch.Tensor:
        """Kept tokens, their NLL and KL(model ‖ base); end-of-turn tokens, and their probability."""
        targets_K = self._engine.tensor(batch.targets_K).long()
        weights_K = self._engine.tensor(batch.weights_K)
        log_p_K = log_p_KV.gather(1, targets_K[:, None])[:, 0]
        kl_K = (log_p_KV.exp() * (log_p_KV - base_KV)).sum(dim=1)
        kept_K, end_K = weights_K == _KEPT, weights_K == _END
        found = (-log_p_K[kept_K], kl_K[kept_K], log_p_K[end_K].exp())
        sums = [each.double().sum() for each in found]
        return torch.stack([kept_K.double().sum(), *sums[:2], end_K.double().sum(), sums[2]])

    @torch.no_grad()
    def _log_probs(self) -> Iterator[torch.Tensor]:
        """log p (K, V) for each micro-batch; dummies run too, because ZeRO-3's ranks wait for each other."""
        for batch in self._batches:
            yield functional.log_softmax(self._engine.logits_to_read(batch).float(), dim=1)

    def _plan(self, job: TrainingJob, data: PairData, objective: Objective) -> ProbePlan | None:
        generator = np.random.Generator(np.random.PCG64([job.training.seed, 0, _STREAM]))
        drawn = list(map(int, generator.permutation(len(data))[:_DRAWN]))
        measured = [data.sequences(pair, objective, tail_cut=True) for pair in drawn]
        seen = _pairs_seen(job, len(data)) / len(drawn)
        return plan_probe(
            self._candidates(data, drawn),
            self._engine.size(),
            steps=job.steps,
            # With shared beginnings, whatever the setting: what an alarm goes back to does not depend on it.
            tokens=seen * sum(tree_tokens([s.inputs_T for s in pair], grain=GRAIN) for pair in measured),
            positions=seen * sum(len(s.weights_K) for sequences in measured for s in sequences),
            positions_max=_BASE_FLOATS // self._engine.vocabulary,
        )

    def _candidates(self, data: PairData, drawn: Sequence[int]) -> Iterator[Candidate]:
        for pair in drawn:
            sequence = self._sequence(data, pair)
            yield Candidate(pair, len(sequence.inputs_T), len(sequence.weights_K))

    def _sequence(self, data: PairData, pair: int) -> TrainingSequence:
        return data.weighted_answer(pair, self._answer, _WATCHED)


def _watched() -> np.ndarray:
    weights = np.zeros(len(EditClass), dtype=np.float32)
    weights[EditClass.KEPT], weights[EditClass.END_OF_TURN] = _KEPT, _END
    return weights


_WATCHED = _watched()


def _watched_answer(objective: Objective) -> Answer:
    """The revision if the objective reads it: its unchanged tokens are the model's own words."""
    if "revision" in objective.answers:
        return "revision"
    return "response" if "response" in objective.answers else objective.answers[0]


def _pairs_seen(job: TrainingJob, pairs: int) -> int:
    """The pairs of all steps, each as often as it is used."""
    epochs, steps = divmod(job.steps, steps_per_epoch(pairs, job.pairs_per_step))
    return epochs * pairs + steps * job.pairs_per_step
