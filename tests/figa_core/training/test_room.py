"""What a training needs on its disk is known beforehand."""

from pathlib import Path

import numpy as np
import pytest

from figa_core.records import WeighedPair
from figa_core.shards.write import write_shards
from figa_core.training.room import shard_bytes, training_bytes


def test_a_short_training_needs_one_checkpoint_and_a_long_one_three() -> None:
    def room(steps: int) -> int:
        return training_bytes(1000, dtype="float32", exported_bytes=4000, steps=steps, checkpoint_steps=100)

    assert room(1) == room(100) == 16_000 + 4000
    assert room(101) == 2 * 16_000 + 4000
    assert room(201) == room(10_000) == 3 * 16_000 + 4000


def test_bfloat16_halves_the_weights_of_a_checkpoint_and_not_its_masters() -> None:
    room = training_bytes(1000, dtype="bfloat16", exported_bytes=0, steps=1, checkpoint_steps=1)
    assert room == 14_000


@pytest.mark.parametrize("vocabulary", [32_000, 128_000])
def test_shards_take_no_more_than_was_estimated(tmp_path: Path, vocabulary: int) -> None:
    """Ids drawn evenly from the vocabulary, which no text is: they compress worst."""
    rng = np.random.default_rng(0)

    def drawn(count: int) -> tuple[int, ...]:
        return tuple(rng.integers(0, vocabulary, count).tolist())

    pairs = [
        WeighedPair(
            f"revision-s256-{i:032x}", drawn(60), drawn(200), (0,) * 200, drawn(200), (1,) * 200, (), 0, 1
        )
        for i in range(1000)
    ]
    manifest = write_shards(
        tmp_path,
        pairs,
        shard_set_id="s",
        tokenizer_hash="t",
        template_hash="t",
        scheme="levenshtein",
        max_length=512,
        pairs_per_shard=1000,
    )
    found = sum(shard.size for shard in manifest.shards)
    assert found <= shard_bytes(1000, tokens_per_pair=460)
