"""Log-probabilities of a reference model: computed once, checked by their hash, for exactly these pairs."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from figa_core.errors import StorageError, TrainingError
from figa_core.records import WeighedPair
from figa_core.training import reference_log_probs
from figa_core.training.data import PairData
from figa_core.training.objectives.base import Answer
from figa_core.training.reference_pass import run_pass
from figa_core.training.spread import Room, bytes_in_float32, load_to_read
from tests.figa_core.shards.test_shards import flipped
from tests.figa_core.training.gpt2 import gpt2_fp64
from tests.figa_core.training.jobs import write_set
from tests.figa_core.training.oracle import answer_nlls

ANSWERS: tuple[Answer, ...] = ("response", "revision", "reference")


@pytest.fixture
def written(tmp_path: Path, model_dir: Path, shards_dir: Path) -> Path:
    directory = tmp_path / "log-probs" / "id"
    run_pass(model_dir, shards_dir, directory, ANSWERS, 100)
    return directory


def test_log_probabilities_equal_those_of_plain_torch_for_every_token_of_every_answer(
    written: Path, model_dir: Path, pairs: list[WeighedPair]
) -> None:
    check(written, AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32), pairs)


def test_a_model_with_absolute_positions_counts_them_from_each_answers_own_prompt(
    tmp_path: Path, shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    model = gpt2_fp64(0).float()
    model.save_pretrained(tmp_path / "gpt-2")
    run_pass(tmp_path / "gpt-2", shards_dir, tmp_path / "id", ANSWERS, 100)
    check(tmp_path / "id", model, pairs)


@pytest.mark.parametrize("share", [0.0, 0.95])
def test_a_model_that_no_memory_holds_is_read_from_its_files_layer_by_layer(
    share: float, tmp_path: Path, model_dir: Path, shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    files = sorted(model_dir.iterdir())
    room: Room = {"cpu": int(share * bytes_in_float32(model_dir))}
    places = set(load_to_read(model_dir, room, tmp_path).hf_device_map.values())
    assert places == ({"cpu", "disk"} if share else {"disk"})
    run_pass(model_dir, shards_dir, tmp_path / "id", ANSWERS, 100, room=room)
    check(tmp_path / "id", AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32), pairs)
    assert sorted(model_dir.iterdir()) == files


def check(written: Path, model: torch.nn.Module, pairs: list[WeighedPair]) -> None:
    rows = reference_log_probs.read(written).to_pylist()
    assert [row["pair_id"] for row in rows] == [pair.pair_id for pair in pairs]
    for row, pair in zip(rows, pairs, strict=True):
        for answer in ANSWERS:
            ids = getattr(pair, f"{answer}_ids")
            expected = (
                [-float(nll.detach()) for nll in answer_nlls(model, pair.prompt_ids, ids)] if ids else []
            )
            assert row[answer] == pytest.approx(expected, abs=1e-5)


def test_a_training_sequence_has_the_log_probabilities_of_its_weighted_tokens(
    written: Path, shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    data, rows = PairData(shards_dir, written), reference_log_probs.read(written).to_pylist()
    sequence = data.whole_answer(3, "revision")
    assert sequence.reference_log_probs_K is not None
    np.testing.assert_allclose(sequence.reference_log_probs_K, rows[3]["revision"])
    assert PairData(shards_dir).whole_answer(3, "revision").reference_log_probs_K is None


def test_without_a_manifest_the_log_probabilities_are_incomplete(written: Path) -> None:
    (written / "manifest.json").unlink()
    assert reference_log_probs.read_manifest(written) is None
    with pytest.raises(StorageError, match="no complete log-probabilities here"):
        reference_log_probs.read(written)


def test_a_pass_that_ends_early_leaves_no_manifest_and_the_next_one_completes_it(
    tmp_path: Path, written: Path
) -> None:
    table = reference_log_probs.read(written)

    def broken():
        yield table.slice(0, 5)
        raise RuntimeError("killed")

    directory = tmp_path / "other"
    with pytest.raises(RuntimeError, match="killed"):
        reference_log_probs.write(directory, ANSWERS, broken())
    assert reference_log_probs.read_manifest(directory) is None
    assert list(directory.iterdir()) == []
    manifest = reference_log_probs.write(directory, ANSWERS, iter([table.slice(0, 5), table.slice(5)]))
    assert manifest == reference_log_probs.read_manifest(directory)
    assert (manifest.log_probs_id, manifest.pairs) == ("other", table.num_rows)
    assert reference_log_probs.read(directory).equals(table)


def test_every_flipped_bit_is_found(written: Path) -> None:
    """60 bits of the file and of the manifest, drawn with a seed."""
    rng = random.Random(0)
    for _ in range(60):
        path = rng.choice(sorted(written.iterdir()))
        before = flipped(path, rng)
        with pytest.raises(StorageError, match=rf"{path.name}: damaged log-probabilities .*train again"):
            reference_log_probs.read(written)
        path.write_bytes(before)
    reference_log_probs.read(written)


def test_log_probabilities_of_other_pairs_are_refused(
    written: Path, tmp_path: Path, pairs: list[WeighedPair]
) -> None:
    for name, others in (("fewer", pairs[:-1]), ("in another order", pairs[::-1])):
        write_set(tmp_path / name, others)
        with pytest.raises(TrainingError, match="these log-probabilities are of other pairs"):
            PairData(tmp_path / name, written)
