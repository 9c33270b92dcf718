"""Disks that are too small for the files of a training."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from flows.checks.room import bytes_in, check_room, room_findings, size_text, trainings_bytes

from .conftest import MakeFacts

WORKSPACE = Path("/data/workspace")
GB = 10**9


def test_a_disk_on_which_not_one_checkpoint_fits_is_a_problem() -> None:
    [finding] = room_findings(WORKSPACE, least=20 * GB, most=50 * GB, free=19 * GB)
    assert finding.is_problem
    assert str(finding).startswith(
        "workspace.path: /data/workspace has 19 GB left, and a training takes at least 20 GB there"
    )


def test_a_disk_that_may_become_full_is_a_warning_and_a_large_one_is_nothing() -> None:
    [finding] = room_findings(WORKSPACE, least=20 * GB, most=50 * GB, free=49 * GB)
    assert not finding.is_problem
    assert "may take 50 GB" in str(finding)
    assert list(room_findings(WORKSPACE, least=20 * GB, most=50 * GB, free=50 * GB)) == []


def test_what_earlier_trainings_left_needs_no_room_again() -> None:
    assert list(room_findings(WORKSPACE, least=-GB, most=-GB, free=0)) == []


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    weights = {"a": np.zeros((100, 10), np.float32), "b": np.zeros(24, np.float32)}
    save_file(weights, tmp_path / "base" / "model.safetensors")
    return tmp_path / "base"


def test_a_training_takes_checkpoints_and_a_model_for_every_objective(model: Path, facts: MakeFacts) -> None:
    weights, exported = 1024, 4096
    one = facts(generation={"model": str(model)}, training={"dtype": "float32", "max_steps": 100}).config
    assert trainings_bytes(one) == (16 * weights + exported, 16 * weights + exported)
    long = facts(
        generation={"model": str(model)},
        training={"dtype": "bfloat16"},
        evaluation={"baselines": ["sft", "sft_revised"]},
    ).config
    assert trainings_bytes(long) == (14 * weights + exported, 4 * 14 * weights + 3 * exported)


def test_a_checkpoint_of_lora_has_the_updates_only(model: Path, facts: MakeFacts) -> None:
    lora = facts(
        generation={"model": str(model)},
        training={"dtype": "float32", "max_steps": 100, "lora": {"rank": 2}},
    ).config
    updates, exported = 2 * (100 + 10), 4096
    assert trainings_bytes(lora)[1] == 16 * updates + exported


def test_a_small_model_has_room(model: Path, facts: MakeFacts) -> None:
    assert list(check_room(facts(generation={"model": str(model)}))) == []


def test_files_are_counted_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"123")
    (tmp_path / "a" / "b" / "two").write_bytes(b"45")
    assert bytes_in(tmp_path) == 5
    assert bytes_in(tmp_path / "not there") == 0


@pytest.mark.parametrize(
    ("count", "text"),
    [(-5, "0 bytes"), (7, "7 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (12_345_678, "12 MB")],
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    assert size_text(count) == text
