"""figa_core's own training loop as a contender: the real engine, one rank, ZeRO stage 2."""

import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from figa_core.config.training import LossConfig, TrainingConfig
from figa_core.training import batches, loop
from figa_core.training.data import PairData
from figa_core.training.engine import ZeroEngine
from figa_core.training.job import Levers, TrainingJob
from figa_core.training.metrics import read_metrics
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.objectives.base import Objective
from figa_core.training.prefixes import ROOT, paths_of
from figa_core.training.sequence import TrainingSequence, Unit
from figa_core.weighting.alignment import edit_classes
from tests.benchmarks.flops import row_flops
from tests.benchmarks.measure import MemoryWatch, Outcome, Step, finished_clock
from tests.benchmarks.spec import LOOP_SEED, WARM_UP, Spec


class RecomputedPairs(PairData):
    """Aligns a pair in every step, as if the shards did not have its edits."""

    def sequences(self, pair: int, objective: Objective, *, tail_cut: bool) -> list[TrainingSequence]:
        """Like `PairData.sequences`, after an alignment."""
        response, revision = (self._ids[answer].row(pair).tolist() for answer in ("response", "revision"))
        edit_classes(response[:-1], revision[:-1])
        return super().sequences(pair, objective, tail_cut=tail_cut)


def group_by_arrival(units: Sequence[Unit], tokens_per_batch: int) -> list[list[TrainingSequence]]:
    """Rows in the order of the data, as many as fit the budget when padded: no grouping by length."""
    groups: list[list[TrainingSequence]] = []
    for (sequence,) in sorted(units, key=lambda unit: unit[0].pair):
        group = [*(groups[-1] if groups else []), sequence]
        if groups and len(group) * max(len(s.inputs_T) for s in group) <= tokens_per_batch:
            groups[-1] = group
        else:
            groups.append([sequence])
    return groups


def job_of(spec: Spec, output: Path) -> TrainingJob:
    """The training that the spec describes."""
    return TrainingJob(
        training_id="bench",
        model=Path(spec.model),
        shards=Path(spec.shards),
        output=output,
        steps=spec.steps + WARM_UP,
        loss=LossConfig(alpha=spec.alpha, beta=spec.beta, gamma=0.0, negative_nll_max=spec.negative_nll_max),
        training=TrainingConfig(
            learning_rate=1e-5,
            pairs_per_step=spec.pairs_per_step,
            tokens_per_batch=spec.tokens_per_batch,
            dtype="bfloat16" if spec.bfloat16 else "float32",
            checkpoint_steps=10**9,
            seed=LOOP_SEED,
        ),
        levers=Levers(sparse_head=spec.sparse_head, tail_cut=spec.tail_cut, packing=spec.packing),
    )


def run(spec: Spec) -> Outcome:
    """Train the spec's steps with `loop.train`; the times are those in its metrics."""
    join_alone()
    data = (PairData if spec.stored_edits else RecomputedPairs)(Path(spec.shards))
    group = batches.group_rows if spec.by_length else group_by_arrival
    with tempfile.TemporaryDirectory() as scratch, patch.object(batches, "group_rows", group):
        job = job_of(spec, Path(scratch))
        engine = ZeroEngine(job)
        watch = MemoryWatch()
        loop.train(job, engine, data, clock=finished_clock)
        metrics = [*read_metrics(job.metrics_path)][WARM_UP:]
        steps = loop.Steps(job, engine, data)
        flops = [
            sum(_flops(spec, batch) for batch in steps.plan(done.step).micro_batches) for done in metrics
        ]
        outcome = watch.outcome(
            [Step(m.seconds, m.pairs, count) for m, count in zip(metrics, flops, strict=True)]
        )
        engine.close()
    return outcome


def join_alone() -> None:
    """Set the environment that a launcher gives a single rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)


def _flops(spec: Spec, batch: MicroBatch) -> float:
    rows, tokens = batch.ids_BT.shape
    lengths = batch.piece_lengths or (tokens,) * rows
    paths = paths_of(batch.piece_parents or (ROOT,) * len(lengths))
    seen = [sum(lengths[piece] for piece in path) for path in paths]
    body = sum(
        row_flops(spec.shape, spec.vocabulary, tokens=length, projected=0, before=keys - length)
        for length, keys in zip(lengths, seen, strict=True)
    )
    projected = len(batch.targets_K) if spec.sparse_head else rows * tokens
    return body + row_flops(spec.shape, spec.vocabulary, tokens=0, projected=projected)
