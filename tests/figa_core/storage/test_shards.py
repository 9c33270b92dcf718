"""Parquet shards: what goes in comes out, and what is incomplete or damaged is refused."""

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from figa_core.errors import NothingToDoError, StorageError
from figa_core.records import WeighedPair
from figa_core.storage.shards import ShardManifest, iter_pairs, read_manifest, write_shards


def pair(index: int) -> WeighedPair:
    return WeighedPair(
        pair_id=f"pair-{index}",
        prompt_ids=(1, 2, 3),
        response_ids=tuple(range(index)),
        response_classes=(3,) * index,
        revision_ids=(7, 130_000),
        revision_classes=(1, 4),
        reference_ids=() if index % 2 else (9,),
        response_reward=-0.5 * index,
        revision_reward=1 / 3,
    )


PAIRS = [pair(index) for index in range(7)]


def write(
    directory: Path, pairs: list[WeighedPair] | Iterator[WeighedPair], set_id: str = "set"
) -> ShardManifest:
    return write_shards(
        directory,
        pairs,
        shard_set_id=set_id,
        tokenizer_hash="tokenizer",
        template_hash="template",
        scheme="levenshtein",
        max_length=64,
        pairs_per_shard=3,
    )


def test_pairs_come_back_as_they_were_in_order(tmp_path: Path) -> None:
    manifest = write(tmp_path / "set", PAIRS)
    assert list(iter_pairs(tmp_path / "set")) == PAIRS
    assert read_manifest(tmp_path / "set") == manifest
    assert (manifest.pairs, [shard.pairs for shard in manifest.shards]) == (7, [3, 3, 1])
    assert (manifest.longest_sequence, manifest.largest_id) == (9, 130_000)


def test_a_directory_without_a_manifest_is_incomplete_and_written_anew(tmp_path: Path) -> None:
    def interrupted() -> Iterator[WeighedPair]:
        yield from PAIRS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, interrupted())
    assert read_manifest(tmp_path) is None
    with pytest.raises(StorageError, match="no complete shard set"):
        list(iter_pairs(tmp_path))
    write(tmp_path, PAIRS[:2])
    assert list(iter_pairs(tmp_path)) == PAIRS[:2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "pairs-00000.parquet"]


def test_a_complete_set_is_not_written_again(tmp_path: Path) -> None:
    manifest = write(tmp_path, PAIRS)

    def never() -> Iterator[WeighedPair]:
        raise AssertionError("read although the set is complete")
        yield

    assert write(tmp_path, never()) == manifest
    with pytest.raises(StorageError, match="holds shard set set, not other"):
        write(tmp_path, never(), set_id="other")


def test_memory_holds_one_shard_of_pairs(tmp_path: Path) -> None:
    taken = itertools.count()
    seen: list[int] = []

    def counting() -> Iterator[WeighedPair]:
        for one in PAIRS:
            next(taken)
            seen.append(len(list(tmp_path.glob("*.parquet"))))
            yield one

    write(tmp_path, counting())
    assert seen == [0, 0, 0, 1, 1, 1, 2]


def test_no_pairs_are_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="no pair"):
        write(tmp_path, [])


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbled", "manifest", "version"])
def test_damage_is_named_with_the_file(tmp_path: Path, damage: str) -> None:
    write(tmp_path, PAIRS)
    victim = tmp_path / "pairs-00001.parquet"
    manifest = tmp_path / "manifest.json"
    if damage == "missing":
        victim.unlink()
    elif damage == "truncated":
        victim.write_bytes(victim.read_bytes()[:-10])
    elif damage == "garbled":
        victim.write_bytes(b"x" * victim.stat().st_size)
    elif damage == "manifest":
        victim = manifest
        manifest.write_text("{")
    else:
        victim = manifest
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99}))
    with pytest.raises(StorageError, match=str(victim)):
        list(iter_pairs(tmp_path))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/set: cannot write"):
        write(tmp_path / "file" / "set", PAIRS)


def flipped(path: Path, rng: random.Random) -> bytes:
    """Turn one bit of a file over; its content of before."""
    before = path.read_bytes()
    body = bytearray(before)
    place = rng.randrange(8 * len(body))
    body[place // 8] ^= 1 << place % 8
    path.write_bytes(bytes(body))
    return before


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """300 bits of shards and manifest, drawn with a seed, one at a time."""
    write(tmp_path, PAIRS)
    files = sorted(tmp_path.iterdir())
    rng = random.Random(0)
    for _ in range(300):
        path = rng.choice(files)
        before = flipped(path, rng)
        with pytest.raises(StorageError, match=str(path)):
            list(iter_pairs(tmp_path))
        path.write_bytes(before)
    assert list(iter_pairs(tmp_path)) == PAIRS


def test_a_set_of_an_earlier_release_has_no_hashes_and_is_read_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, PAIRS)
    path = tmp_path / "manifest.json"
    fields = json.loads(path.read_text())
    del fields["sha256"]
    for shard in fields["shards"]:
        del shard["sha256"]
    path.write_text(json.dumps(fields))
    assert list(iter_pairs(tmp_path)) == PAIRS
