"""Jobs of the tests, and a look at the processes that run them."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from figa_core.records import Objective, WeighedPair
from figa_core.training.job import TrainingJob
from figa_core.training.launch import TrainingResult
from figa_core.training.metrics import StepMetrics

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
        objective=Objective.FIGA,
        alpha=ALPHA,
        beta=BETA,
        gamma=GAMMA,
        negative_nll_max=GATE,
        learning_rate=1.0,
        steps=1,
        pairs_per_step=PAIRS,
        tokens_per_batch=70,
        processes=2,
    )
    return dataclasses.replace(job, **changes)  # type: ignore[arg-type]


def training_job(model_dir: Path, shards_dir: Path, output: Path, **changes: object) -> TrainingJob:
    base = gradient_job(model_dir, shards_dir, "training-test", **changes)
    return dataclasses.replace(
        base, output=output, learning_rate=1e-3, steps=STEPS, pairs_per_step=4, checkpoint_steps=10
    )


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
