"""Checkpoints and models are kept, and their hashes are checked before they are used."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import CheckpointsConfig
from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.errors import TrainingError
from figa_core.training import checkpoints, saving
from figa_core.training.change import WeightChange
from figa_core.training.checkpoints import (
    TrainingManifest,
    checkpoint_of,
    checkpoints_dir,
    last_whole,
    tag_of,
)
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from tests.figa_core.shards.test_shards import flipped
from tests.figa_core.training.jobs import MakeJob, changed, last_step


@pytest.fixture
def job(make_job: MakeJob) -> TrainingJob:
    return make_job()


def states(directory: Path, tag: str) -> list[Path]:
    (directory / tag).mkdir()
    files = [directory / tag / name for name in ("model_states.pt", "optim_states.pt")]
    for file in files:
        file.write_bytes(f"{tag} {file.name}".encode() * 20)
    return files


def save(job: TrainingJob, step: int) -> Path:
    checkpoint = checkpoint_of(job, step, 1.0)
    saving.save(job, checkpoint, states)
    saving.mark_whole(job, checkpoint)
    return checkpoints_dir(job) / tag_of(step)


def test_the_last_two_whole_checkpoints_are_kept(job: TrainingJob) -> None:
    for step in (2, 4, 6):
        save(job, step)
    (checkpoints_dir(job) / tag_of(8)).mkdir()  # killed while writing
    assert last_step(job) == 6
    checkpoints.remove_unfinished(job)
    assert sorted(path.name for path in checkpoints_dir(job).iterdir()) == [tag_of(4), tag_of(6)]


@pytest.mark.parametrize("kept", [1, 3])
def test_as_many_checkpoints_are_kept_as_the_setting_says(job: TrainingJob, kept: int) -> None:
    for step in (2, 4, 6, 8):
        save(changed(job, checkpoints=CheckpointsConfig(kept=kept)), step)
    names = sorted(path.name for path in checkpoints_dir(job).iterdir())
    assert names == [tag_of(step) for step in (2, 4, 6, 8)[-kept:]]


OTHER_RANKS = [{"processes": 4}, {"zero_stage": 3}, {"dtype": "bfloat16"}]


@pytest.mark.parametrize("changes", [{"prefix_sharing": False}, {"tokens_per_batch": 128}, *OTHER_RANKS])
def test_a_checkpoint_is_resumed_with_other_micro_batches_and_ranks(
    job: TrainingJob, changes: dict[str, Any]
) -> None:
    save(changed(job, **changes), 2)
    assert last_step(job) == 2
    found = last_whole(job)
    assert found is not None
    assert found.is_laid_out_for(job) == (changes not in OTHER_RANKS)


ON_DISK: dict[str, Any] = {
    "zero_stage": 3,
    "deepspeed": DeepSpeedConfig(
        zero_optimization={"offload_optimizer": {"device": "nvme", "nvme_path": "/fast"}}
    ),
}


def test_an_optimizer_on_disk_resumes_as_it_was_written_only(job: TrainingJob) -> None:
    on_disk = changed(job, **ON_DISK)
    (save(on_disk, 4) / "offloaded_tensors").mkdir()
    checkpoints.check_own(on_disk)
    for other in (changed(on_disk, processes=4), changed(on_disk, dtype="bfloat16")):
        with pytest.raises(
            TrainingError, match=r"step-00000004: an optimizer on disk .* with one rank, ZeRO-3, float32 ag"
        ):
            checkpoints.check_own(other)


def test_an_offload_to_disk_is_neither_begun_nor_ended_within_a_training(job: TrainingJob) -> None:
    on_disk, in_memory = changed(job, **ON_DISK), changed(job, zero_stage=3)
    directory = save(in_memory, 2)
    checkpoints.check_own(in_memory)
    with pytest.raises(TrainingError, match=r"step-00000002: its optimizer was not offloaded to disk. Leave"):
        checkpoints.check_own(on_disk)
    (directory / "offloaded_tensors").mkdir()
    with pytest.raises(
        TrainingError, match=r"was offloaded to disk. Set .*offload_optimizer to .* as before"
    ):
        checkpoints.check_own(in_memory)


def test_after_any_flipped_bit_of_a_checkpoint_the_one_before_is_used(job: TrainingJob) -> None:
    """200 bits of its states and of whole.json, drawn with a seed."""
    rng = random.Random(0)
    save(job, 10)
    for _ in range(200):
        directory = save(job, 20)
        path = rng.choice(sorted(directory.iterdir()))
        flipped(path, rng)
        checkpoints.remove_unfinished(job)
        messages = list(checkpoints.remove_damaged(job))
        assert last_step(job) == 10
        assert not directory.exists()
        assert [path.name in line for line in messages] == [True] * (path.name != "whole.json")


def test_an_undamaged_checkpoint_is_kept_and_so_is_one_of_an_earlier_release(job: TrainingJob) -> None:
    save(job, 10)
    assert list(checkpoints.remove_damaged(job)) == []
    earlier = checkpoints_dir(job) / tag_of(20)
    states(checkpoints_dir(job), tag_of(20))
    fields = {"step": 20, "ranks": 1, "zero_stage": 2, "dtype": "float32", "seconds": 1.0, "tag": tag_of(20)}
    (earlier / "whole.json").write_text(json.dumps(fields))
    assert list(checkpoints.remove_damaged(job)) == []
    assert last_step(job) == 20


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_an_error_and_the_one_before_is_kept(
    job: TrainingJob,
) -> None:
    save(job, 10)

    def on_a_full_disk(directory: Path, tag: str) -> list[Path]:
        (directory / tag).mkdir()
        (directory / tag / "states.pt").symlink_to("/dev/full")
        (directory / tag / "states.pt").write_bytes(b"x" * 100_000)
        return []

    with pytest.raises(
        TrainingError, match=r"step-00000020: cannot write the checkpoint \(.*No space left"
    ) as e:
        saving.save(job, checkpoint_of(job, 20, 1.0), on_a_full_disk)
    assert "The checkpoint of step 10 is kept" in str(e.value)
    checkpoints.remove_unfinished(job)
    assert last_step(job) == 10


def finished(job: TrainingJob) -> TrainingManifest:
    job.model_dir.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (job.model_dir / name).write_bytes(name.encode() * 30)
    checkpoints.finish(job, TrainingManifest(job.training_id, job.steps, 0, 1.0, 1, {"torch": "2"}))
    manifest = checkpoints.read_manifest(job.output)
    assert manifest is not None
    return manifest


def test_every_flipped_bit_of_a_finished_training_is_found(job: TrainingJob, tmp_path: Path) -> None:
    """200 bits of the model and of the manifest, drawn with a seed; the training is requested again."""
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


def test_a_finished_training_returns_its_manifest(job: TrainingJob, tmp_path: Path) -> None:
    change = WeightChange(0.25, changed=3, compared=4, dtype="bfloat16", dtype_before="float32")
    finished(job)
    manifest = TrainingManifest(
        job.training_id, 10, 2, 1.5, 1024, {"torch": "2.13"}, overflowed_steps=1, change=change
    )
    checkpoints.finish(job, manifest)
    result = run_training(job, log_path=tmp_path / "log")
    assert dataclasses.replace(result, files={}) == manifest
    assert result == checkpoints.read_manifest(job.output)


def test_the_hashes_of_a_model_are_checked_before_it_is_judged(job: TrainingJob, tmp_path: Path) -> None:
    finished(job)
    checkpoints.check_exported(job.model_dir)
    checkpoints.check_exported(tmp_path)  # not the model of a training: there is nothing to check
    (job.model_dir / "tokenizer.json").unlink()
    with pytest.raises(TrainingError, match=r"damaged model: tokenizer\.json is missing"):
        checkpoints.check_exported(job.model_dir)


def test_a_finished_training_of_an_earlier_release_is_not_checked(job: TrainingJob) -> None:
    earlier = dataclasses.asdict(finished(job))
    for name in ("files", "change", "overflowed_steps"):
        del earlier[name]
    (job.output / "manifest.json").write_text(json.dumps(earlier))
    found = checkpoints.read_manifest(job.output)
    assert found is not None
    assert (found.files, found.change, found.overflowed_steps) == ({}, None, 0)
    checkpoints.check_model(job.output, found)


def test_a_dropped_model_leaves_its_figures_and_its_training_counts_as_unfinished(job: TrainingJob) -> None:
    assert checkpoints.read_dropped(job.output) is None
    manifest = finished(job)
    checkpoints.drop_model(job.output, "fingerprint", "template")
    assert not job.model_dir.exists()
    assert checkpoints.read_manifest(job.output) is None
    dropped = checkpoints.read_dropped(job.output)
    assert dropped is not None
    assert (dropped.fingerprint, dropped.template) == ("fingerprint", "template")
    assert dropped.training == manifest
    checkpoints.drop_model(job.output, "other", "other")  # there is nothing left to drop
    assert checkpoints.read_dropped(job.output) == dropped


def test_a_damaged_record_of_a_dropped_model_counts_as_none(job: TrainingJob) -> None:
    finished(job)
    checkpoints.drop_model(job.output, "fingerprint", "template")
    path = job.output / "dropped.json"
    path.write_text(path.read_text().replace("fingerprint", "another"))
    assert checkpoints.read_dropped(job.output) is None


def test_a_checkpoint_of_another_training_is_refused(job: TrainingJob) -> None:
    save(changed(job, training_id="training-other"), 10)
    with pytest.raises(
        TrainingError, match=r"step-00000010: a checkpoint of training training-other, not of"
    ):
        checkpoints.check_own(job)
    assert (checkpoints_dir(job) / tag_of(10)).is_dir(), "it may be the only copy"
