"""What of a training's directory is worth a copy, by the names of its files."""

from pathlib import Path

import pytest

from figa_core.file_hashes import hashes_of, write_sealed
from figa_core.training.stored_copy import (
    is_finished,
    is_whole,
    newest_step,
    result_of,
    to_continue,
    to_send,
)

CHECKPOINT = ["checkpoints/step-00000008/mp_rank_00.pt", "checkpoints/step-00000008/whole.json"]
RESULT = ["metrics.jsonl", "model/config.json", "model/model.safetensors", "manifest.json"]


def _directory(directory: Path, *names: str) -> Path:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return directory


def test_a_training_under_way_sends_its_figures_and_whole_checkpoints(tmp_path: Path) -> None:
    written = ["checkpoints/step-00000009/half.pt", "checkpoints/step-00000010.partial/half.pt"]
    output = _directory(tmp_path, *CHECKPOINT, *written, "metrics.jsonl", "model/half", "alarms.json")
    assert to_send(output) == ["alarms.json", "metrics.jsonl", *CHECKPOINT]


def test_the_newest_checkpoint_is_sent_first_and_sealed_before_the_next_is_begun(tmp_path: Path) -> None:
    earlier = ["checkpoints/step-00000004/a.pt", "checkpoints/step-00000004/whole.json"]
    assert to_send(_directory(tmp_path, *CHECKPOINT, *earlier)) == [*CHECKPOINT, *earlier]


def test_a_checkpoint_is_sealed_by_its_last_file_whatever_the_others_are_called(tmp_path: Path) -> None:
    seal = "checkpoints/step-00000008/whole.json"
    names = [seal, "checkpoints/step-00000008/zero_pp_rank_0.pt"]
    assert to_send(_directory(tmp_path, *names))[-1] == seal
    assert to_continue(names)[-1] == seal


def test_a_result_is_sealed_by_its_last_file_whatever_the_others_are_called(tmp_path: Path) -> None:
    names = ["manifest.json", "model/weights", "verdict.json"]
    assert to_send(_directory(tmp_path, *names))[-1] == "manifest.json"
    assert to_continue(names)[-1] == result_of(names)[-1] == "manifest.json"


def test_a_finished_training_sends_its_model_and_no_checkpoint(tmp_path: Path) -> None:
    assert to_send(_directory(tmp_path, *CHECKPOINT, *RESULT)) == RESULT


def test_a_dropped_model_is_told(tmp_path: Path) -> None:
    assert to_send(_directory(tmp_path, "metrics.jsonl", "dropped.json")) == ["metrics.jsonl", "dropped.json"]


def test_a_machine_continues_with_everything_and_the_seal_last() -> None:
    names = [CHECKPOINT[1], "metrics.jsonl", CHECKPOINT[0]]
    assert to_continue(names) == [CHECKPOINT[0], "metrics.jsonl", CHECKPOINT[1]]


def test_of_a_finished_training_only_the_result_is_wanted() -> None:
    assert to_continue([*CHECKPOINT, *RESULT]) == result_of([*CHECKPOINT, *RESULT]) == RESULT


def test_the_newest_checkpoint_is_the_newest_whole_one() -> None:
    half = "checkpoints/step-00000012/mp_rank_00.pt"
    earlier = "checkpoints/step-00000004/whole.json"
    assert newest_step([*CHECKPOINT, earlier, half]) == 8
    assert newest_step([half, "manifest.json"]) == 0


def test_a_training_is_finished_with_its_manifest() -> None:
    assert is_finished(RESULT)
    assert not is_finished([*CHECKPOINT, "model/manifest.json"])


@pytest.mark.parametrize("sealed", ["checkpoints/step-00000008", "model"])
def test_a_copy_is_whole_if_it_holds_what_its_seal_says(tmp_path: Path, sealed: str) -> None:
    directory = _directory(tmp_path, f"{sealed}/weights", "metrics.jsonl") / sealed
    assert not is_whole(tmp_path)
    seal = tmp_path / "manifest.json" if sealed == "model" else directory / "whole.json"
    write_sealed(seal, {"files": hashes_of(directory)})
    assert is_whole(tmp_path)
    (directory / "weights").write_text("others")
    assert not is_whole(tmp_path)
    (directory / "weights").unlink()
    assert not is_whole(tmp_path)
