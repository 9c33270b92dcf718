"""Checkpoints get their name when they are whole, and one that cannot be written costs no training."""

import hashlib
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import TrainingError
from figa_core.training import checkpoints, saving
from figa_core.training.checkpoints import checkpoint_of, checkpoints_dir, tag_of
from figa_core.training.data import PairData
from figa_core.training.failures import OtherRankError
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.loop import train
from figa_core.training.metrics import read_metrics
from figa_core.training.saving import Deferred, UnwrittenFileError, going_on, save_on_all_ranks
from tests.figa_core.training.jobs import MakeJob, last_step
from tests.figa_core.training.one_rank import OneRank


def on_a_full_disk(directory: Path, tag: str) -> None:
    (directory / tag).mkdir()
    (directory / tag / "whole.pt").write_bytes(b"x")
    (directory / tag / "states.pt").symlink_to("/dev/full")
    (directory / tag / "states.pt").write_bytes(b"x" * 100_000)


class OnASmallDisk(OneRank):
    """Its disk is full at these steps."""

    full_at: tuple[int, ...] = ()

    def save_state(self, directory: Path, tag: str) -> list[Path]:
        if any(tag.startswith(tag_of(step)) for step in self.full_at):
            on_a_full_disk(directory, tag)
        return super().save_state(directory, tag)


def train_on_a_small_disk(job: TrainingJob, *full_at: int, stop_after: int | None = None) -> Any:
    job.output.mkdir(parents=True, exist_ok=True)
    engine: Any = OnASmallDisk(job)
    engine.full_at = full_at

    def stop() -> bool:
        done = read_metrics(job.metrics_path)
        return stop_after is not None and len(done) >= stop_after

    return train(job, engine, PairData(job.shards), stop=stop)


def test_a_training_goes_on_without_a_checkpoint_that_does_not_fit_and_says_so(
    make_job: MakeJob, capfd: pytest.CaptureFixture[str]
) -> None:
    job = make_job(steps=9, checkpoint_steps=2, processes=1)
    end = train_on_a_small_disk(job, 4, 6)
    assert (end.done, end.step) == (True, 9)
    names = sorted(path.name for path in checkpoints_dir(job).iterdir())
    assert names == [tag_of(2), tag_of(8)]
    told = [line for line in capfd.readouterr().out.splitlines() if line.startswith("figa warning")]
    assert len(told) == 2
    assert "step-00000004: cannot write the checkpoint ([Errno 28] No space left on device" in told[0]
    assert "The checkpoint of step 2 is kept. The training goes on without it." in told[0]
    assert "The next one is due after step 6. Free space." in told[0]


def test_a_training_that_is_stopped_on_a_full_disk_says_which_checkpoint_a_retry_continues_from(
    make_job: MakeJob,
) -> None:
    job = make_job(steps=9, checkpoint_steps=2, processes=1)
    with pytest.raises(
        TrainingError, match=r"step-00000003.*The checkpoint of step 2 is kept. Free space and run"
    ):
        train_on_a_small_disk(job, 3, stop_after=3)
    assert last_step(job) == 2
    assert [path.name for path in checkpoints_dir(job).iterdir()] == [tag_of(2)]
    assert train_on_a_small_disk(job).done


def test_a_checkpoint_has_another_name_until_it_is_whole(make_job: MakeJob) -> None:
    job = make_job()
    checkpoint = checkpoint_of(job, 10, 1.0)
    seen: list[str] = []

    def write(directory: Path, tag: str) -> list[Path]:
        (directory / tag).mkdir()
        (directory / tag / "states.pt").write_bytes(b"states")
        seen.append(tag)
        return [directory / tag / "states.pt"]

    saving.save(job, checkpoint, write)
    assert seen == ["step-00000010.partial"]
    assert last_step(job) == 0
    saving.mark_whole(job, checkpoint)
    assert [path.name for path in checkpoints_dir(job).iterdir()] == [tag_of(10)]
    assert last_step(job) == 10
    # Killed between the last file and the new name.
    (checkpoints_dir(job) / tag_of(10)).rename(checkpoints_dir(job) / "step-00000010.partial")
    assert last_step(job) == 0
    checkpoints.remove_unfinished(job)
    assert list(checkpoints_dir(job).iterdir()) == []


class Others:
    """An engine of one of two ranks, of which the other one fails or not."""

    ranks = 2

    def __init__(self, rank: int, *, other_fails: bool, error: Exception | None = None) -> None:
        self.rank, self._other_fails, self._error = rank, other_fails, error

    def total(self, *values: float) -> list[float]:
        return [values[0] + self._other_fails]

    def save_state(self, directory: Path, tag: str) -> list[Path]:
        (directory / tag).mkdir(exist_ok=True)
        file = directory / tag / f"states-{self.rank}.pt"
        file.write_bytes(b"states of %d" % self.rank)
        if self._error is not None:
            raise self._error
        return [file]


def test_a_rank_whose_own_part_is_written_learns_that_the_others_is_not(make_job: MakeJob) -> None:
    job = make_job(processes=2)
    job.output.mkdir(parents=True)
    error = save_on_all_ranks(job, Others(0, other_fails=True), checkpoint_of(job, 10, 1.0), ())
    assert isinstance(error, OtherRankError)
    assert list(checkpoints_dir(job).iterdir()) == []


def test_ranks_go_on_together_only_after_an_error_behind_which_all_have_come(make_job: MakeJob) -> None:
    job, full = make_job(processes=2), UnwrittenFileError("No space left on device")
    job.output.mkdir(parents=True)
    checkpoint = checkpoint_of(job, 10, 1.0)
    found = save_on_all_ranks(job, Others(0, other_fails=False, error=full), checkpoint, ())
    assert "cannot write the checkpoint (No space left on device)" in str(found)
    with pytest.raises(TrainingError, match="somewhere else"):
        save_on_all_ranks(job, Others(0, other_fails=False, error=OSError("somewhere else")), checkpoint, ())


def test_each_rank_hashes_its_own_files_and_the_first_one_any_others(make_job: MakeJob) -> None:
    job = make_job(processes=2)
    checkpoint, of_all = checkpoint_of(job, 10, 1.0), checkpoints_dir(job) / "step-00000010.partial"
    for rank in (1, 0):
        saving.save(job, checkpoint, Others(rank, other_fails=False).save_state, rank=rank)
    by_rank_1 = (of_all / "hashes-1.json").read_text()
    (of_all / "more.pt").write_bytes(b"more")
    (of_all / "states-1.pt").write_bytes(b"changed after it was hashed")
    saving.mark_whole(job, checkpoint, begun=time.monotonic() - 3)
    (whole,) = checkpoints.whole_ones(job)
    assert list(whole.files) == ["more.pt", "states-0.pt", "states-1.pt"]
    assert whole.files["states-1.pt"] in by_rank_1, "rank 0 takes what the others noted"
    assert whole.files["more.pt"] == hashlib.sha256(b"more").hexdigest()
    assert whole.write_seconds is not None
    assert whole.write_seconds >= 3
    names = sorted(path.name for path in (checkpoints_dir(job) / tag_of(10)).iterdir())
    assert names == ["more.pt", "states-0.pt", "states-1.pt", "whole.json"]


def test_the_last_checkpoint_of_a_training_announces_no_other(make_job: MakeJob) -> None:
    text = going_on(TrainingError("It is full. Free space and run again."), make_job(steps=15), 10)
    assert text == "It is full. The training goes on without it. Free space."


class Writer:
    def __init__(self) -> None:
        self.written: list[str] = []

    def save(self, state_dict: str, path: str) -> None:
        if state_dict == "too large":
            raise RuntimeError("PytorchStreamWriter failed writing file")
        self.written.append(path)

    def is_decoupled(self) -> bool:
        return False


def test_a_writer_that_defers_its_error_writes_nothing_after_it_and_is_otherwise_the_same() -> None:
    writer = Writer()
    deferred = Deferred(writer)
    deferred.check()
    deferred.save("small", path="one")
    deferred.save(state_dict="too large", path="two")
    deferred.save("small", "three")
    assert writer.written == ["one"]
    assert deferred.files == [Path("one")]
    assert deferred.is_decoupled() is False
    with pytest.raises(UnwrittenFileError, match="PytorchStreamWriter"):
        deferred.check()


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """No file of this process and its children may have more bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.distributed
def test_two_real_ranks_whose_checkpoints_are_too_large_train_to_the_end(
    make_job: MakeJob, model_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The weights fit, and the optimizer's state, which has half as much again on each rank, does not."""
    job = make_job(processes=2, steps=5, checkpoint_steps=2)
    weights = (model_dir / "model.safetensors").stat().st_size
    with files_of_at_most(weights * 5 // 4):
        done = run_training(job, log_path=tmp_path / "log")
    assert done.steps == 5
    messages = [record.getMessage() for record in caplog.records if "cannot write" in record.getMessage()]
    assert (
        "cannot write the checkpoint (PyTorch could not write a file to its end, as on a full" in messages[0]
    )
    assert "The training goes on without it" in messages[0]
    assert "There is no earlier one" in messages[0]
