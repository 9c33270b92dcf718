"""The disk space a training needs is estimated beforehand."""

from typing import Any

import pytest

from figa_core.config import CheckpointsConfig, HeldOutConfig, OptimizerConfig, TrainingConfig
from figa_core.training.room import room_for, size_of, training_bytes
from tests.figa_core.training.jobs import MakeJob


def checkpoints_at_once(steps: int, **settings: Any) -> float:
    training = TrainingConfig(dtype="float32", checkpoint_steps=100, **settings)
    size = training_bytes(training, 1000, exported_bytes=4000, steps=steps)
    return (size - 4000) / 16_000


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (100, 1), (101, 2), (201, 3), (301, 4), (10_000, 4)])
def test_a_short_training_needs_one_checkpoint_and_a_long_one_four(steps: int, count: int) -> None:
    assert checkpoints_at_once(steps) == count


def test_the_newest_checkpoints_and_the_one_of_the_best_step_are_counted() -> None:
    best = HeldOutConfig(share=0.1, result="best")
    assert checkpoints_at_once(10_000, held_out=best) == 5
    assert checkpoints_at_once(10_000, checkpoints=CheckpointsConfig(kept=1)) == 3
    assert checkpoints_at_once(10_000, checkpoints=CheckpointsConfig(kept=7), held_out=best) == 10


def test_zero_3_writes_no_weights_beside_their_masters() -> None:
    assert checkpoints_at_once(1, zero_stage=3) == pytest.approx(12 / 16)


def test_moments_of_8_bits_take_less_room() -> None:
    eight = OptimizerConfig(kind="adamw_8bit")
    assert checkpoints_at_once(1, optimizer=eight) == pytest.approx((4 + 4 + 2 + 2 * 4 / 256) / 16, rel=1e-3)


def test_a_disk_without_room_for_one_checkpoint_and_the_model_is_said_before_anything_starts(
    make_job: MakeJob,
) -> None:
    job = make_job(steps=100, checkpoint_steps=10)
    parameters, exported = size_of(job.model)
    assert exported == 4 * parameters  # float32
    checkpoint = 16 * parameters
    full = room_for(job, free=checkpoint + exported - 1)
    assert not full.enough
    assert full.text.startswith(f"{job.output}: a checkpoint takes ")
    assert "are free there. Free space, or use a larger disk." in full.text
    tight = room_for(job, free=checkpoint + exported)
    assert (tight.enough, tight.tight) == (True, True)
    assert "without a checkpoint that does not fit" in tight.text
    large = room_for(job, free=4 * checkpoint + exported)
    assert (large.enough, large.tight) == (True, False)


def test_the_files_of_a_training_that_is_resumed_count_as_room(make_job: MakeJob) -> None:
    job = make_job(steps=100)
    parameters, exported = size_of(job.model)
    (job.output / "checkpoints").mkdir(parents=True)
    (job.output / "checkpoints" / "states.pt").write_bytes(b"x" * 16 * parameters)
    assert room_for(job, free=exported).enough
    assert not room_for(job, free=exported - 1).enough


@pytest.mark.parametrize("free", [0, 10**15])
def test_the_sentence_says_what_a_checkpoint_takes(make_job: MakeJob, free: int) -> None:
    assert "MiB, and the trained model " in room_for(make_job(), free=free).text
