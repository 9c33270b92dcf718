"""A checkpoint resumes with other ranks, another ZeRO stage or another dtype as with those that wrote it."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from figa_core.config import LoraConfig, OptimizerConfig, ScheduleConfig
from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from figa_core.training.room import checkpoint_bytes
from tests.figa_core.training.jobs import gradient_job, run_on_ranks

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

STOP, STEPS = 3, 8
OF_ALL: dict[str, object] = {
    "learning_rate": 1e-3,
    "checkpoint_steps": STOP,
    "steps": STEPS,
    "schedule": ScheduleConfig(kind="cosine", warmup_share=0.3),
    # With weight decay there are two groups of parameters.
    "optimizer": OptimizerConfig(
        beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=0.5, gradient_norm_max=0.5
    ),
}
OFFLOADED = DeepSpeedConfig(zero_optimization={"offload_optimizer": {"device": "cpu"}})
EXTRAS: dict[str, dict[str, object]] = {
    "": {},
    "lora": {"lora": LoraConfig(rank=4)},
    "offload": {"deepspeed": OFFLOADED},
    "bf16": {"dtype": "bfloat16"},
    "8bit": {"optimizer": OptimizerConfig(kind="adamw_8bit", epsilon=1e-6, weight_decay=0.5)},
}


class Layout(NamedTuple):
    ranks: int
    stage: int
    extra: str = ""

    def __str__(self) -> str:
        return f"{self.ranks}-zero{self.stage}{f'-{self.extra}' if self.extra else ''}"


RESUMED = [
    (Layout(2, 2), Layout(1, 2)),
    (Layout(2, 2), Layout(3, 1)),
    (Layout(2, 2), Layout(3, 3)),
    (Layout(2, 3), Layout(1, 3)),
    (Layout(2, 3), Layout(3, 2)),
    (Layout(1, 2), Layout(2, 3)),
    (Layout(3, 1), Layout(2, 2)),
    (Layout(2, 2, "lora"), Layout(1, 3, "lora")),
    (Layout(2, 3, "lora"), Layout(3, 2, "lora")),
    (Layout(2, 3), Layout(2, 2, "offload")),
    (Layout(2, 2, "offload"), Layout(1, 3)),
]
OF_ANOTHER_DTYPE = [
    (Layout(2, 3, "bf16"), Layout(2, 2)),
    (Layout(2, 1, "bf16"), Layout(3, 3)),
    (Layout(2, 2), Layout(2, 1, "bf16")),
    (Layout(2, 2), Layout(3, 3, "bf16")),
]
IN_8_BITS = [(Layout(2, 2, "8bit"), Layout(1, 3, "8bit")), (Layout(2, 3, "8bit"), Layout(3, 1, "8bit"))]
EVERY = RESUMED + OF_ANOTHER_DTYPE + IN_8_BITS
UNCHANGED = [(each, each) for each in (Layout(2, 2), Layout(2, 2, "lora"), Layout(2, 2, "8bit"))]
SOURCES = sorted({source for source, _ in EVERY + UNCHANGED})


def name_of(pair: tuple[Layout, Layout]) -> str:
    return f"{pair[0]}-to-{pair[1]}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, shards_dir: Path) -> Path:
    """Outputs of trainings: DIRECTORY/<layout> stopped, DIRECTORY/<layout>-to-<layout> went on from there."""
    directory = tmp_path_factory.mktemp("layouts")

    def run(step: str, jobs: list[TrainingJob]) -> None:
        for job in jobs:
            job.output.mkdir(exist_ok=True)
            of_ranks = directory / f"{step}-{job.training.processes}"
            of_ranks.mkdir(exist_ok=True)
            (of_ranks / f"{job.output.name}.json").write_text(job.model_dump_json())
        for of_ranks in sorted(directory.glob(f"{step}-?")):
            run_on_ranks("resumed_ranks.py", of_ranks, int(of_ranks.name[-1]), timeout_s=400)

    def job_of(layout: Layout, output: str) -> TrainingJob:
        return layout_job(model_dir, shards_dir, layout, directory / output)

    run("written", [job_of(source, str(source)) for source in SOURCES])
    for pair in EVERY + UNCHANGED:
        shutil.copytree(directory / str(pair[0]), directory / name_of(pair))
    run("resumed", [job_of(pair[1], name_of(pair)) for pair in EVERY + UNCHANGED])
    return directory


def layout_job(model_dir: Path, shards_dir: Path, layout: Layout, output: Path) -> TrainingJob:
    how = {**OF_ALL, "zero_stage": layout.stage, "processes": layout.ranks, **EXTRAS[layout.extra]}
    return gradient_job(model_dir, shards_dir, "training", **how, output=output)


def metrics(directory: Path, pair: tuple[Layout, Layout]) -> list[StepMetrics]:
    return read_metrics(directory / name_of(pair) / "metrics.jsonl")


@pytest.mark.parametrize("pair", RESUMED, ids=name_of)
def test_the_steps_after_it_are_those_of_the_same_layout(pair: tuple[Layout, Layout], trained: Path) -> None:
    expected = metrics(trained, UNCHANGED["lora" in pair[0].extra])
    found = metrics(trained, pair)
    assert [step.step for step in found] == list(range(1, STEPS + 1))
    assert [step.loss for step in found] == pytest.approx([step.loss for step in expected], abs=1e-6)
    assert [step.grad_norm for step in found] == pytest.approx([s.grad_norm for s in expected], rel=1e-5)
    assert [step.learning_rate for step in found] == [step.learning_rate for step in expected]


@pytest.mark.parametrize("pair", EVERY, ids=name_of)
def test_it_begins_with_the_very_weights_of_the_checkpoint(
    pair: tuple[Layout, Layout], trained: Path
) -> None:
    before = load_file(trained / str(pair[0]) / "weights.safetensors")
    after = load_file(trained / name_of(pair) / "weights.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("pair", OF_ANOTHER_DTYPE, ids=name_of)
def test_with_another_dtype_losses_differ_by_the_rounding_of_bfloat16_alone(
    pair: tuple[Layout, Layout], trained: Path
) -> None:
    expected = metrics(trained, UNCHANGED[0])[STOP:]
    found = metrics(trained, pair)[STOP:]
    assert [step.loss for step in found] == pytest.approx([step.loss for step in expected], rel=0.03)


@pytest.mark.parametrize("pair", IN_8_BITS, ids=name_of)
def test_moments_of_8_bits_are_rounded_once_more(pair: tuple[Layout, Layout], trained: Path) -> None:
    expected, found = metrics(trained, UNCHANGED[2]), metrics(trained, pair)
    assert [step.step for step in found] == list(range(1, STEPS + 1))
    assert [step.loss for step in found] == pytest.approx([step.loss for step in expected], rel=1e-3)


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_a_checkpoint_takes_the_space_that_is_said_before(
    source: Layout, trained: Path, model_dir: Path, shards_dir: Path
) -> None:
    training = layout_job(model_dir, shards_dir, source, trained).training
    weights = load_file(trained / str(source) / "weights.safetensors")
    count = sum(weight.numel() for weight in weights.values())
    planned = checkpoint_bytes(
        count, dtype=training.dtype, stage=training.zero_stage, kind=training.optimizer.kind
    )
    files = (trained / str(source) / "checkpoints").rglob("*.pt")
    of_each_file = 40_000  # what DeepSpeed writes beside the numbers
    assert (
        planned
        <= sum(path.stat().st_size - 3000 for path in files)
        <= planned + 2 * source.ranks * of_each_file
    )


def test_a_training_goes_on_from_the_checkpoint_of_other_ranks_and_says_so(
    trained: Path, model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / str(Layout(2, 2)), tmp_path / "out")
    job = layout_job(model_dir, shards_dir, Layout(1, 3), tmp_path / "out")
    seen: list[StepMetrics] = []
    done = run_training(job, on_step=seen.append, log_path=tmp_path / "log")
    assert done.steps == STEPS
    said = "resumes after step 3 of 8, from a checkpoint of 2 ranks, ZeRO-2, float32"
    assert said in (tmp_path / "log").read_text()
    expected = [step.loss for step in metrics(trained, UNCHANGED[0])]
    assert [step.loss for step in seen] == pytest.approx(expected, abs=1e-6)
