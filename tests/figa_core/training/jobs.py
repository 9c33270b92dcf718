"""Jobs of the tests, ways to run them, and the processes that do."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file

from figa_core.config.alarms import AlarmsConfig
from figa_core.config.training import LossConfig, TrainingConfig
from figa_core.processes.children import child_environment
from figa_core.records import WeighedPair
from figa_core.shards.write import write_shards
from figa_core.training.batches import StepPlan, plan_step
from figa_core.training.checkpoints import TrainingManifest, last_whole
from figa_core.training.data import PairData
from figa_core.training.job import TrainingJob
from figa_core.training.loop import accumulate
from figa_core.training.metrics import StepMetrics
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.model import WeightedTokenLogits, inputs_of
from figa_core.training.objectives.base import Objective, Terms

ROOT = Path(__file__).resolve().parents[3]
PAIRS = 9
ALPHA, BETA, GAMMA, GATE = 1.0, 0.5, 0.1, 6.0
STEPS = 60
CPU = torch.device("cpu")


def write_set(
    directory: Path,
    pairs: Sequence[WeighedPair],
    *,
    tokenizer_hash: str = "tokenizer",
    template_hash: str = "template",
    pairs_per_shard: int = 10,
) -> None:
    write_shards(
        directory,
        pairs,
        shard_set_id="shards-test",
        tokenizer_hash=tokenizer_hash,
        template_hash=template_hash,
        scheme="levenshtein",
        max_length=64,
        pairs_per_shard=pairs_per_shard,
        with_factors=any(pair.revision_factors is not None for pair in pairs),
        with_best=any(pair.best_ids is not None for pair in pairs),
    )


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
    """The job with other values; settings of its sections are given by their names without the section."""
    sections = {
        name: section.model_copy(update={k: v for k, v in changes.items() if k in type(section).model_fields})
        for name, section in (("loss", job.loss), ("training", job.training), ("alarms", job.alarms))
    }
    others = {name: value for name, value in changes.items() if name in TrainingJob.model_fields}
    known = {*others, *LossConfig.model_fields, *TrainingConfig.model_fields, *AlarmsConfig.model_fields}
    assert changes.keys() <= known, changes.keys() - known
    return job.model_copy(update={**sections, **others})


def run_gradient_jobs(directory: Path, jobs: Iterable[TrainingJob], *, timeout_s: float = 200) -> None:
    """Run all jobs with one start for each number of ranks, because starting takes most of the time."""
    for job in jobs:
        output = gradient_output(directory, job)
        output.mkdir(parents=True)
        output.with_suffix(".json").write_text(changed(job, output=output).model_dump_json())
    for of_ranks in sorted(directory.iterdir()):
        if of_ranks.name.isdecimal():
            run_on_ranks("rank_gradients.py", of_ranks, int(of_ranks.name), timeout_s=timeout_s)


def gradient_output(directory: Path, job: TrainingJob) -> Path:
    """The output of a job of `run_gradient_jobs`; its gradients are beside it in a .safetensors file."""
    return directory / str(job.training.processes) / job.training_id


def assert_gradients(output: Path, model: torch.nn.Module, tolerance: float) -> None:
    """That the gradients of `run_gradient_jobs` are those of `model`."""
    found = load_file(output.with_suffix(".safetensors"))
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values() if gradient is not None)
    assert largest > 0.01
    for name, gradient in expected.items():
        assert gradient is not None
        difference = float((found[name] - gradient).abs().max())
        assert difference <= tolerance * largest, (
            f"{name}: {difference / largest:.2e} of the largest gradient"
        )


def run_on_ranks(name: str, directory: Path, ranks: int, *, timeout_s: float = 200) -> None:
    """Run a script of this folder on a directory, under torchrun."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    script = Path(__file__).with_name(name)
    process = subprocess.Popen(
        [*torchrun, f"--nproc-per-node={ranks}", str(script), str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_without_parent_pid(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo", PYTHONPATH=str(ROOT)),
    )
    output, _ = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, output.decode()[-4000:]


def _without_parent_pid(**extra: str) -> dict[str, str]:
    """Here torchrun is the ranks' parent, and its pid is unknown before it starts."""
    environment = child_environment(**extra)
    del environment["FIGA_PARENT_PID"]
    return environment


class PlainEngine:
    """Forward and backward of a rank in this process, without DeepSpeed, for `loop.accumulate`."""

    def __init__(self, model: Any, *, sparse_head: bool = True) -> None:
        self._module = WeightedTokenLogits(model, sparse_head=sparse_head)

    def logits(self, batch: MicroBatch) -> torch.Tensor:
        return self._module(*inputs_of(batch, CPU))

    def tensor(self, array: Any) -> torch.Tensor:
        return torch.from_numpy(array)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


def step_of_all_ranks(
    engine: PlainEngine, data: PairData, pairs: Sequence[int], objective: Objective, ranks: int, **how: Any
) -> tuple[list[StepPlan], list[Terms]]:
    """The micro-batches of every rank, one rank after another in this process."""
    plans = [plan_step(data, pairs, objective, rank=rank, ranks=ranks, **how) for rank in range(ranks)]
    terms = [accumulate(engine, p.micro_batches, objective, max(p.counted, 1)) for p in plans]
    return plans, [one for of_rank in terms for one in of_rank]


MakeJob = Callable[..., TrainingJob]
Finished = tuple[TrainingJob, TrainingManifest, list[StepMetrics]]


def last_step(job: TrainingJob) -> int:
    """The step of the last whole checkpoint; 0 without one."""
    last = last_whole(job)
    return last.step if last else 0


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
