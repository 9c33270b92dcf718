"""A training that begins anew says where the same one in another dtype has checkpoints."""

from pathlib import Path

import pytest

from figa_core.training import saving
from figa_core.training.checkpoints import checkpoint_of
from figa_core.training.job import TrainingJob
from figa_core.training.other_dtype import begun_in_other_dtype
from tests.figa_core.training.jobs import MakeJob, changed


def begun(job: TrainingJob, step: int) -> None:
    """With a checkpoint after this step."""

    def write(directory: Path, tag: str) -> list[Path]:
        (directory / tag).mkdir()
        return []

    job.output.mkdir(parents=True)
    (job.output / "job.json").write_text(job.model_dump_json())
    saving.save(job, checkpoint_of(job, step, 1.0), write)
    saving.mark_whole(job, checkpoint_of(job, step, 1.0))


@pytest.fixture
def in_bfloat16(make_job: MakeJob) -> TrainingJob:
    return make_job(dtype="bfloat16")


def beside(job: TrainingJob, name: str, **changes: object) -> TrainingJob:
    return changed(job, output=job.output.with_name(name), training_id=name, **changes)


def test_the_same_training_in_another_dtype_is_named_with_what_to_do(in_bfloat16: TrainingJob) -> None:
    begun(beside(in_bfloat16, "other", dtype="float32", processes=2, zero_stage=3), 20)
    found = begun_in_other_dtype(in_bfloat16)
    assert found is not None
    assert str(found).startswith(
        f"{in_bfloat16.output.with_name('other')} has a checkpoint of step 20 of the"
    )
    assert 'To go on from there, set training.dtype = "float32"; otherwise remove' in str(found)


def test_trainings_that_differ_otherwise_too_are_not(in_bfloat16: TrainingJob) -> None:
    begun(beside(in_bfloat16, "same-dtype"), 10)
    begun(beside(in_bfloat16, "another-rate", dtype="float32", learning_rate=0.5), 10)
    begun(beside(in_bfloat16, "more-steps", dtype="float32", steps=7), 5)
    damaged = in_bfloat16.output.with_name("damaged")
    damaged.mkdir()
    (damaged / "job.json").write_text("{")
    assert begun_in_other_dtype(in_bfloat16) is None


def test_one_without_a_checkpoint_is_not(in_bfloat16: TrainingJob) -> None:
    other = beside(in_bfloat16, "other", dtype="float32")
    other.output.mkdir()
    (other.output / "job.json").write_text(other.model_dump_json())
    assert begun_in_other_dtype(in_bfloat16) is None
