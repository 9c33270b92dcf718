"""What is offloaded where: refusals in words, checkpoints of what is on disk, and a training with it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.config.training import TrainingConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training.engine import ZeroEngine
from figa_core.training.launch import run_training
from figa_core.training.offload import OFFLOADED_NAME, impossible, optimizer_on_disk
from figa_core.training.saving import Deferred, UnwrittenFileError
from tests.figa_core.training.jobs import MakeJob, gradient_job, gradient_output, run_gradient_jobs
from tests.figa_core.training.plain_torch import train_plainly

NVME = {"device": "nvme", "nvme_path": "/fast"}


def training(stage: int, ranks: int = 2, **zero: object) -> TrainingConfig:
    table = DeepSpeedConfig(zero_optimization=zero)
    return TrainingConfig(zero_stage=stage, processes=ranks, deepspeed=table)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (training(2, offload_param={"device": "cpu"}), "offload_param: the weights are divided"),
        (training(2, offload_optimizer=NVME), 'offload_optimizer: to disk ("nvme") an optimizer is'),
        (training(3, offload_optimizer={"device": "nvme"}), "offload_optimizer: device is"),
        (training(2, zero_hpz_partition_size=2), "zero_hpz_partition_size: it divides the weights"),
        (training(3, 6, zero_hpz_partition_size=4), "zero_hpz_partition_size: 6 ranks are no multiple of 4"),
        (training(3, zero_hpz_partition_size="2"), "zero_hpz_partition_size: '2' is no number of ranks"),
    ],
)
def test_what_deepspeed_cannot_do_is_refused_by_name(found: TrainingConfig, words: str) -> None:
    assert str(impossible(found)).startswith(f"training.deepspeed.zero_optimization.{words}")


@pytest.mark.parametrize(
    "found",
    [
        training(1),
        training(2, offload_optimizer={"device": "cpu"}, zero_hpz_partition_size=1),
        training(2, offload_param={"device": "none"}),
        training(3, offload_optimizer=NVME, offload_param=NVME),
        training(3, 6, zero_hpz_partition_size=3),
    ],
)
def test_what_deepspeed_can_do_is_not(found: TrainingConfig) -> None:
    assert impossible(found) is None


def test_a_training_that_deepspeed_cannot_run_is_refused_before_it_starts(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(deepspeed=training(2, offload_param={"device": "cpu"}).deepspeed)
    with pytest.raises(TrainingError, match=r"offload_param: .* Set training\.zero_stage = 3"):
        run_training(job, log_path=tmp_path / "log")


@pytest.mark.parametrize("wrong", ["cpu", {"device": "gpu"}, 1])
def test_an_offload_is_a_table_with_a_place(wrong: object) -> None:
    with pytest.raises(ValidationError, match=r"offload_param: .* names no place"):
        DeepSpeedConfig(zero_optimization={"offload_param": wrong})


def test_an_optimizer_is_on_disk_with_zero_3_only() -> None:
    assert optimizer_on_disk(training(3, offload_optimizer=NVME))
    assert not optimizer_on_disk(training(2, offload_optimizer=NVME))
    assert not optimizer_on_disk(training(3, offload_param=NVME))


class OnDisk:
    """DeepSpeed's engine of a rank whose optimizer is on disk, as far as a checkpoint needs it."""

    def __init__(self, swapped: Path) -> None:
        self.optimizer = SimpleNamespace(optimizer_swapper=SimpleNamespace(swap_folder=str(swapped)))
        self.checkpoint_engine = SimpleNamespace(save=lambda state, path: Path(path).write_bytes(state))

    def zero_nvme_offload_optimizer(self) -> bool:
        return True

    def save_checkpoint(self, directory: str, *, tag: str, **_: object) -> None:
        Path(directory, tag).mkdir(parents=True)
        self.checkpoint_engine.save(b"weights", f"{directory}/{tag}/weights.pt")
        assert not self.zero_nvme_offload_optimizer(), "it would copy before the last meeting of the ranks"


def engine_on_disk(swapped: Path) -> Any:
    engine: Any = object.__new__(ZeroEngine)
    engine._engine, engine.rank, engine.lora = OnDisk(swapped), 1, None
    return engine


def test_a_checkpoint_has_what_the_rank_keeps_on_disk_but_for_gradients(tmp_path: Path) -> None:
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for name in ("exp_avg.swp", "gradient.swp"):
        (swapped / name).write_bytes(b"x")
    engine = engine_on_disk(swapped)
    files = engine.save_state(tmp_path / "checkpoints", "step")
    names = [path.relative_to(tmp_path / "checkpoints" / "step").as_posix() for path in files]
    assert names == ["weights.pt", f"{OFFLOADED_NAME}/rank01/exp_avg.swp"]
    assert engine._engine.zero_nvme_offload_optimizer(), "and it is as before"


def test_a_rank_that_cannot_copy_what_it_keeps_on_disk_comes_to_the_end_like_the_others(
    tmp_path: Path,
) -> None:
    engine = engine_on_disk(tmp_path / "missing")
    with pytest.raises(UnwrittenFileError, match="missing"):
        engine.save_state(tmp_path / "checkpoints", "step")
    assert engine._engine.zero_nvme_offload_optimizer()


def test_nothing_is_copied_after_a_file_that_failed(tmp_path: Path) -> None:
    deferred = Deferred(SimpleNamespace())
    deferred.error = OSError("No space left on device")
    (tmp_path / "source").mkdir()
    deferred.copy(tmp_path / "source", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def without_aio() -> str | None:
    """Why DeepSpeed cannot read and write a disk here."""
    from deepspeed.ops.op_builder.async_io import AsyncIOBuilder

    return None if AsyncIOBuilder().is_compatible(verbose=False) else "libaio-dev is missing"


@pytest.mark.slow
@pytest.mark.distributed
def test_a_training_with_everything_on_disk_is_that_of_pytorch(
    tmp_path: Path, model_dir: Path, shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    if reason := without_aio():
        pytest.skip(f"DeepSpeed's aio does not build here: {reason}")
    place = {"device": "nvme", "nvme_path": str(tmp_path / "swapped")}
    job = gradient_job(
        model_dir,
        shards_dir,
        "on-disk",
        learning_rate=1e-3,
        steps=5,
        checkpoint_steps=3,
        zero_stage=3,
        deepspeed=training(3, offload_optimizer=place, offload_param=place).deepspeed,
    )
    expected, _ = train_plainly(job, pairs)
    run_gradient_jobs(tmp_path / "runs", [job], timeout_s=600)
    found = load_file(gradient_output(tmp_path / "runs", job).with_suffix(".safetensors"))
    moved = torch.cat([expected[name].flatten() for name in expected])
    differences = torch.cat([(found[name] - expected[name]).flatten() for name in expected])
    assert float(differences.norm()) <= 1e-4 * float(moved.norm())
