"""Jobs of the tests, and a look at the processes that run them."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from figa_core.config.training import LossConfig, TrainingConfig
from figa_core.processes.children import child_environment
from figa_core.records import WeighedPair
from figa_core.training.batches import MicroBatch
from figa_core.training.engine import WeightedTokenLogits
from figa_core.training.job import TrainingJob
from figa_core.training.launch import TrainingResult
from figa_core.training.metrics import StepMetrics

ROOT = Path(__file__).resolve().parents[3]
PAIRS = 9
ALPHA, BETA, GAMMA, GATE = 1.0, 0.5, 0.1, 6.0
STEPS = 60


def mean_scale_of(pairs: list[WeighedPair]) -> float:
    return sum(pair.scale for pair in pairs) / len(pairs)


def gradient_job(model_dir: Path, shards_dir: Path, name: str, **changes: object) -> TrainingJob:
    job = TrainingJob(
        training_id=name,
        model=model_dir,
        shards=shards_dir,
        output=shards_dir / "unused",
        steps=1,
        loss=LossConfig(alpha=ALPHA, beta=BETA, gamma=GAMMA, negative_nll_max=GATE),
        training=TrainingConfig(
            learning_rate=1.0, pairs_per_step=PAIRS, tokens_per_batch=70, processes=2, dtype="float32"
        ),
    )
    return changed(job, **changes)


def training_job(model_dir: Path, shards_dir: Path, output: Path, **changes: object) -> TrainingJob:
    base = gradient_job(model_dir, shards_dir, "training-test", **changes)
    return changed(
        base, output=output, learning_rate=1e-3, steps=STEPS, pairs_per_step=4, checkpoint_steps=10
    )


def changed(job: TrainingJob, **changes: object) -> TrainingJob:
    """The job with other values; settings of its sections are given by their names alone."""
    sections = {
        name: section.model_copy(update={k: v for k, v in changes.items() if k in type(section).model_fields})
        for name, section in (("loss", job.loss), ("training", job.training))
    }
    own = {name: value for name, value in changes.items() if name in TrainingJob.model_fields}
    known = {*own, *LossConfig.model_fields, *TrainingConfig.model_fields}
    assert changes.keys() <= known, changes.keys() - known
    return job.model_copy(update={**sections, **own})


def run_ranks(jobs: Path, ranks: int) -> None:
    """`rank_gradients.py` under torchrun."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    script = Path(__file__).with_name("rank_gradients.py")
    process = subprocess.Popen(
        [*torchrun, f"--nproc-per-node={ranks}", str(script), str(jobs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_without_parent_pid(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo", PYTHONPATH=str(ROOT)),
    )
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output.decode()[-4000:]


def _without_parent_pid(**extra: str) -> dict[str, str]:
    """torchrun itself is the ranks' parent here, and its pid is not known before it starts."""
    environment = child_environment(**extra)
    del environment["FIGA_PARENT_PID"]
    return environment


class PlainEngine:
    """Forward and backward of a rank in this process, without DeepSpeed: what `loop.accumulate` needs."""

    def __init__(self, module: WeightedTokenLogits) -> None:
        self._module = module

    def logits(self, batch: MicroBatch) -> torch.Tensor:
        positions = None if batch.position_ids_BT is None else self.tensor(batch.position_ids_BT)
        ids, rows, columns = map(self.tensor, (batch.ids_BT, batch.rows_K, batch.columns_K))
        return self._module(ids, rows, columns, positions, batch.piece_lengths)

    def tensor(self, array: Any) -> torch.Tensor:
        return torch.from_numpy(array)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


Finished = tuple[TrainingJob, TrainingResult, list[StepMetrics]]


def launcher_of(job: TrainingJob) -> psutil.Process:
    return next(
        child for child in psutil.Process().children() if str(job.output / "job.json") in child.cmdline()
    )


def ranks_of(job: TrainingJob) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(job.output / "job.json") in (process.info["cmdline"] or [])
    ]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()
