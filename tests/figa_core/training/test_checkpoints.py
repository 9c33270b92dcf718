"""Checkpoints and models are compared with what was written before anybody relies on them."""

import dataclasses
import random
from pathlib import Path

import pytest

from figa_core.errors import TrainingError
from figa_core.training import checkpoints
from figa_core.training.change import WeightChange
from figa_core.training.checkpoints import Checkpoint, TrainingManifest, checkpoints_dir, last_whole, tag_of
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from tests.figa_core.shards.test_shards import flipped
from tests.figa_core.training.jobs import training_job


@pytest.fixture
def job(model_dir: Path, shards_dir: Path, tmp_path: Path) -> TrainingJob:
    return training_job(model_dir, shards_dir, tmp_path / "out", processes=1)


def states(directory: Path, tag: str) -> None:
    (directory / tag).mkdir()
    for name in ("model_states.pt", "optim_states.pt"):
        (directory / tag / name).write_bytes(f"{tag} {name}".encode() * 20)


def save(job: TrainingJob, step: int) -> Path:
    checkpoint = Checkpoint(
        step, job.training.processes, job.training.zero_stage, job.training.dtype, 1.0, tag_of(step)
    )
    checkpoints.save(job, checkpoint, states)
    checkpoints.mark_whole(job, checkpoint)
    return checkpoints_dir(job) / tag_of(step)


def test_every_flipped_bit_of_a_checkpoint_sends_back_to_the_one_before(job: TrainingJob) -> None:
    """200 bits of its states and of whole.json, drawn with a seed."""
    rng = random.Random(0)
    save(job, 10)
    for _ in range(200):
        directory = save(job, 20)
        path = rng.choice(sorted(directory.iterdir()))
        flipped(path, rng)
        checkpoints.remove_unfinished(job)
        told = list(checkpoints.remove_damaged(job))
        last = last_whole(job)
        assert last is not None
        assert last.step == 10
        assert not directory.exists()
        assert [path.name in line for line in told] == [True] * (path.name != "whole.json")


def test_an_untouched_checkpoint_stays_and_so_does_one_of_an_earlier_release(job: TrainingJob) -> None:
    save(job, 10)
    assert list(checkpoints.remove_damaged(job)) == []
    earlier = checkpoints_dir(job) / tag_of(20)
    states(checkpoints_dir(job), tag_of(20))
    fields = {"step": 20, "ranks": 1, "zero_stage": 2, "dtype": "float32", "seconds": 1.0, "tag": tag_of(20)}
    checkpoints.write_json(earlier / "whole.json", fields)
    assert list(checkpoints.remove_damaged(job)) == []
    last = last_whole(job)
    assert last is not None
    assert last.step == 20


def test_a_checkpoint_that_does_not_fit_on_the_disk_says_so_and_the_one_before_stays(
    job: TrainingJob,
) -> None:
    save(job, 10)
    checkpoint = Checkpoint(
        20, job.training.processes, job.training.zero_stage, job.training.dtype, 1.0, tag_of(20)
    )

    def on_a_full_disk(directory: Path, tag: str) -> None:
        (directory / tag).mkdir()
        (directory / tag / "states.pt").symlink_to("/dev/full")
        (directory / tag / "states.pt").write_bytes(b"x" * 100_000)

    with pytest.raises(
        TrainingError, match=r"step-00000020: cannot write the checkpoint \(.*No space left"
    ) as e:
        checkpoints.save(job, checkpoint, on_a_full_disk)
    assert "That of step 10 stays" in str(e.value)
    checkpoints.remove_unfinished(job)
    last = last_whole(job)
    assert last is not None
    assert last.step == 10


def finished(job: TrainingJob) -> TrainingManifest:
    job.model_dir.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (job.model_dir / name).write_bytes(name.encode() * 30)
    checkpoints.finish(job, TrainingManifest(job.training_id, job.steps, 0, 1.0, 1, {"torch": "2"}))
    manifest = checkpoints.read_manifest(job.output)
    assert manifest is not None
    return manifest


def test_every_flipped_bit_of_a_finished_training_is_found(job: TrainingJob, tmp_path: Path) -> None:
    """200 bits of the model and of the manifest, drawn with a seed; asked for the training again."""
    finished(job)
    assert run_training(job, log_path=tmp_path / "log").training_id == job.training_id
    rng = random.Random(0)
    files = [job.output / "manifest.json", *sorted(job.model_dir.iterdir())]
    for _ in range(200):
        path = rng.choice(files)
        before = flipped(path, rng)
        with pytest.raises(
            TrainingError, match=rf"damaged (model|manifest).*{path.name}|{path.name}: damaged"
        ):
            run_training(job, log_path=tmp_path / "log")
        path.write_bytes(before)
    checkpoints.check_exported(job.model_dir)


def test_what_a_finished_training_says_of_itself_is_its_result(job: TrainingJob, tmp_path: Path) -> None:
    change = WeightChange(0.25, changed=3, compared=4, dtype="bfloat16", dtype_before="float32")
    finished(job)
    said = TrainingManifest(
        job.training_id, 10, 2, 1.5, 1024, {"torch": "2.13"}, overflowed_steps=1, change=change
    )
    checkpoints.finish(job, said)
    read = checkpoints.read_manifest(job.output)
    assert read is not None
    assert dataclasses.replace(read, files={}) == said
    result = run_training(job, log_path=tmp_path / "log")
    assert dataclasses.asdict(result) == {
        "training_id": job.training_id,
        "model_dir": job.model_dir,
        "steps": 10,
        "skipped_steps": 2,
        "overflowed_steps": 1,
        "wall_seconds": 1.5,
        "peak_rss_bytes": 1024,
        "metrics_path": job.metrics_path,
    }


def test_a_model_that_is_going_to_be_judged_is_compared_first(job: TrainingJob, tmp_path: Path) -> None:
    finished(job)
    checkpoints.check_exported(job.model_dir)
    checkpoints.check_exported(tmp_path)  # no model of a training: nothing to compare with
    (job.model_dir / "tokenizer.json").unlink()
    with pytest.raises(TrainingError, match=r"damaged model: tokenizer\.json is missing"):
        checkpoints.check_exported(job.model_dir)


def test_a_finished_training_of_an_earlier_release_is_taken_as_it_is(job: TrainingJob) -> None:
    manifest = finished(job)
    earlier = dataclasses.asdict(manifest)
    for name in ("files", "change", "overflowed_steps"):
        del earlier[name]
    checkpoints.write_json(job.output / "manifest.json", earlier)
    found = checkpoints.read_manifest(job.output)
    assert found is not None
    assert (found.files, found.change, found.overflowed_steps) == ({}, None, 0)
    checkpoints.check_model(job.output, found)
