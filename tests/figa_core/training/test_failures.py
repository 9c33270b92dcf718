"""The error that a failed training reports: the cause, and what to do."""

from pathlib import Path

import pytest
import torch

from figa_core.errors import DivergedTrainingError, TrainingError
from figa_core.training.alarms import Alarm, write_alarms
from figa_core.training.failures import (
    OtherRankError,
    clear_failures,
    divergence,
    full_memory,
    is_from_another_rank,
    record_failure,
    root_failure,
)
from tests.figa_core.training.jobs import gradient_job

MESSAGE = "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of 23.6 GiB"


@pytest.mark.parametrize(
    ("changes", "has", "lacks"),
    [
        ({"dtype": "float32", "zero_stage": 2}, ("bfloat16", "zero_stage 3"), ()),
        ({"dtype": "bfloat16", "zero_stage": 3}, (), ("bfloat16", "zero_stage 3")),
    ],
)
def test_only_remedies_that_are_not_in_use_are_named(
    changes: dict[str, object], has: tuple[str, ...], lacks: tuple[str, ...]
) -> None:
    job = gradient_job(Path("model"), Path("shards"), "training", **changes, tokens_per_batch=16_384)
    error = full_memory(torch.OutOfMemoryError(MESSAGE), job)
    assert isinstance(error, TrainingError)
    text = str(error)
    assert text.startswith("the GPU's memory is full. Lower training.tokens_per_batch (now 16,384)")
    assert "Tried to allocate 2.00 GiB. GPU 0 has" in text
    assert all(word in text for word in has)
    assert not any(word in text for word in lacks)


def test_other_errors_are_not_replaced() -> None:
    job = gradient_job(Path("model"), Path("shards"), "training")
    assert full_memory(RuntimeError("CUDA error: device-side assert triggered"), job) is None


@pytest.mark.parametrize(
    ("error", "of_another"),
    [
        (OtherRankError("rank 1 ended"), True),
        (
            RuntimeError("[/pytorch/gloo/transport/tcp/pair.cc:537] Read error: timed out"),
            True,
        ),
        (RuntimeError("Application timeout caused pair closure: Connection closed by peer [10.0.0.2]"), True),
        (torch.distributed.DistBackendError("NCCL error: remote process exited"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (TrainingError("token id 7"), False),
    ],
)
def test_a_broken_connection_is_told_from_a_rank_s_own_error(error: Exception, of_another: bool) -> None:
    assert is_from_another_rank(error) is of_another


def test_the_error_that_caused_the_others_is_found(tmp_path: Path) -> None:
    output = tmp_path / "not" / "there yet"
    record_failure(output, 0, RuntimeError("Connection closed by peer"), secondary=True)
    record_failure(output, 2, TrainingError("token id 7"), secondary=False)
    record_failure(output, 1, TrainingError("token id 999 of “Ỹ”"), secondary=False)
    failure = root_failure(output)
    assert failure is not None
    assert (failure.rank, failure.kind, failure.message) == (1, "TrainingError", "token id 999 of “Ỹ”")
    clear_failures(output)
    assert root_failure(output) is None


def test_the_file_of_a_rank_that_was_killed_while_writing_it_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "failure-rank0.json").write_text('{"rank": 0, "ki')
    (tmp_path / "failure-rank1.json").write_text('{"rank": 1}')
    (tmp_path / "failure-rank2.json").symlink_to("removed by another machine meanwhile")
    assert root_failure(tmp_path) is None
    record_failure(tmp_path, 3, TrainingError("no room"), secondary=True)
    failure = root_failure(tmp_path)
    assert failure is not None
    assert failure.rank == 3


def test_a_training_that_diverged_is_told_from_one_that_failed(tmp_path: Path) -> None:
    for error, diverged in (
        (DivergedTrainingError("the loss is nan"), True),
        (TrainingError("no room"), False),
    ):
        record_failure(tmp_path, 0, error, secondary=False)
        failure = root_failure(tmp_path)
        assert failure is not None
        assert failure.diverged == diverged


def test_numbers_that_were_not_finite_are_a_divergence_and_other_errors_are_none(tmp_path: Path) -> None:
    assert divergence(tmp_path) is None
    record_failure(tmp_path, 0, TrainingError("the disk is full"), secondary=False)
    assert divergence(tmp_path) is None
    record_failure(tmp_path, 0, DivergedTrainingError("the loss was NaN"), secondary=False)
    assert divergence(tmp_path) == "the loss was NaN"


@pytest.mark.parametrize(
    ("stops", "good_step", "diverged"), [(True, 0, True), (True, 4, False), (False, 0, False)]
)
def test_an_alarm_that_ends_a_training_without_a_good_step_is_a_divergence(
    tmp_path: Path, stops: bool, good_step: int, diverged: bool
) -> None:
    write_alarms(tmp_path, [Alarm("kl_from_base", 8, 3.0, 0.5, 1.5, stops, good_step)])
    reason = divergence(tmp_path)
    assert (reason is not None) == diverged
    if reason is not None:
        assert "the KL divergence from the base model is 3" in reason
        assert "so the base model is the better one, and nothing is exported. Lower" in reason
