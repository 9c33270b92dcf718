"""DeepSpeed's AdamW for the CPU: what it needs is said before it starts, and it trains as PyTorch does."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from figa_core.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training.cpu_adam import no_compiler, not_offloaded
from figa_core.training.launch import run_training
from tests.figa_core.training.jobs import MakeJob, gradient_job, gradient_output, run_gradient_jobs
from tests.figa_core.training.plain_torch import train_plainly

OFFLOADED = DeepSpeedConfig(zero_optimization={"offload_optimizer": {"device": "cpu"}})
CPU_ADAM = OptimizerConfig(kind="adamw_cpu", epsilon=1e-6, weight_decay=0.5, gradient_norm_max=0.5)


def test_it_needs_an_offloaded_optimizer() -> None:
    assert not_offloaded(TrainingConfig()) is None
    assert not_offloaded(TrainingConfig(optimizer=CPU_ADAM, deepspeed=OFFLOADED)) is None
    problem = not_offloaded(TrainingConfig(optimizer=CPU_ADAM))
    assert problem is not None
    assert problem.startswith(
        "training.optimizer.kind: adamw_cpu works on an optimizer that is offloaded. Set"
    )


def test_it_needs_a_compiler() -> None:
    none = {"CXX": "no-such-compiler"}
    assert no_compiler(TrainingConfig(), none) is None
    problem = no_compiler(TrainingConfig(optimizer=CPU_ADAM), none)
    assert problem is not None
    assert "no C++ compiler here (no-such-compiler). Install one, or use adamw." in problem


def test_a_training_without_what_it_needs_does_not_start(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"adamw_cpu works on an optimizer that is offloaded"):
        run_training(make_job(optimizer=CPU_ADAM), log_path=tmp_path / "log")
    assert not (tmp_path / "log").exists()


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_ranks_train_with_it_as_pytorch_does(
    tmp_path: Path, model_dir: Path, shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    jobs = [
        gradient_job(
            model_dir,
            shards_dir,
            f"cpu-adam-{stage}",
            learning_rate=1e-3,
            steps=5,
            processes=2,
            zero_stage=stage,
            optimizer=CPU_ADAM,
            deepspeed=OFFLOADED,
            schedule=ScheduleConfig(kind="linear"),
        )
        for stage in (2, 3)
    ]
    run_gradient_jobs(tmp_path, jobs, timeout_s=1500)
    expected, _ = train_plainly(jobs[0], pairs)
    moved = torch.cat([expected[name].flatten() for name in expected])
    for job in jobs:
        found = load_file(gradient_output(tmp_path, job).with_suffix(".safetensors"))
        differences = torch.cat([(found[name] - expected[name]).flatten() for name in expected])
        assert float(differences.norm()) <= 1e-4 * float(moved.norm())
