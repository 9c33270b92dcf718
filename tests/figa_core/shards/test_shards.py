"""Parquet shards are read as they were written; incomplete or damaged ones are refused."""

import itertools
import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from figa_core.errors import NothingToDoError, StorageError
from figa_core.file_hashes import read_sealed, write_sealed
from figa_core.records import WeighedPair
from figa_core.shards import write as shards
from figa_core.shards.manifest import BEST, ShardManifest, read_manifest, write_manifest
from figa_core.shards.read import find_pairs, has_column, iter_tables, pairs_of
from figa_core.shards.sizes import shard_sizes
from figa_core.shards.write import write_shards


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


def read(directory: Path) -> list[WeighedPair]:
    """All pairs, in the order of the files."""
    return [pair for table in iter_tables(directory) for pair in pairs_of(table)]


def write(
    directory: Path,
    pairs: list[WeighedPair] | Iterator[WeighedPair],
    set_id: str = "set",
    per_shard: int = 3,
    *,
    with_factors: bool = False,
    with_best: bool = False,
) -> ShardManifest:
    return write_shards(
        directory,
        pairs,
        shard_set_id=set_id,
        tokenizer_hash="tokenizer",
        template_hash="template",
        scheme="levenshtein",
        max_length=64,
        pairs_per_shard=per_shard,
        with_factors=with_factors,
        with_best=with_best,
    )


def test_pairs_are_read_as_they_were_written_in_order(tmp_path: Path) -> None:
    directory = tmp_path / "missing" / "set"
    manifest = write(directory, PAIRS)
    assert read(directory) == PAIRS
    assert read_manifest(directory) == manifest
    assert (manifest.pairs, [shard.pairs for shard in manifest.shards]) == (7, [3, 3, 1])
    assert (manifest.shard_set_id, manifest.tokenizer_hash, manifest.template_hash) == (
        "set",
        "tokenizer",
        "template",
    )
    assert (manifest.scheme, manifest.max_length) == ("levenshtein", 64)


TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=4).map(tuple)


@st.composite
def weighed_pairs(draw: st.DrawFn) -> WeighedPair:
    response, revision = draw(TOKENS), draw(TOKENS)
    return WeighedPair(
        pair_id=draw(st.text(st.characters(codec="utf-8"), max_size=3)),
        prompt_ids=draw(TOKENS),
        response_ids=response,
        response_classes=tuple(index % 5 for index in range(len(response))),
        revision_ids=revision,
        revision_classes=tuple(index % 5 for index in range(len(revision))),
        reference_ids=draw(TOKENS),
        response_reward=draw(st.floats(allow_nan=False) | st.integers(-3, 3)),
        revision_reward=draw(st.floats(allow_nan=False) | st.integers(-3, 3)),
        scale=draw(st.floats(0, 10)),
        canonical=draw(st.booleans()),
    )


# The longest prompt has no answer, the longest answer no prompt.
APART = [
    WeighedPair("prompt", (1, 2, 3, 4), (), (), (), (), (), 0.0, 0.0),
    WeighedPair("answer", (), (1, 2, 3), (0, 1, 2), (), (), (), 0.0, 0.0),
]


@settings(max_examples=25, deadline=None)
@example(APART, 2, 2)
@given(st.lists(weighed_pairs(), min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 3))
def test_any_pairs_are_read_as_they_were_written_and_the_manifest_counts_them_correctly(
    pairs: list[WeighedPair], per_shard: int, row_group: int
) -> None:
    """In any shards and row groups; answers and references may be empty."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_ROW_GROUP", row_group)
        manifest = write(Path(directory), pairs, per_shard=per_shard)
        assert read(Path(directory)) == pairs
    answers = [(p.prompt_ids, a) for p in pairs for a in (p.response_ids, p.revision_ids, p.reference_ids)]
    assert manifest.pairs == sum(shard.pairs for shard in manifest.shards) == len(pairs)
    assert len(manifest.shards) == -(-len(pairs) // per_shard)
    assert manifest.longest_sequence == max(len(prompt) + len(answer) for prompt, answer in answers)
    assert manifest.largest_id == max((i for prompt, answer in answers for i in prompt + answer), default=0)
    assert manifest.canonical_pairs == sum(p.canonical for p in pairs)


FACTORS = (0.25, 1.0)  # exact in float32


@settings(max_examples=10, deadline=None)
@given(st.lists(st.none() | st.just(FACTORS), min_size=1, max_size=6), st.integers(1, 3))
def test_factors_are_stored_if_asked_for_and_are_1_for_pairs_without_them(
    factors: list[tuple[float, ...] | None], per_shard: int
) -> None:
    pairs = [replace(pair(i), revision_factors=these) for i, these in enumerate(factors)]
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory) / "with", pairs, per_shard=per_shard, with_factors=True)
        write(Path(directory) / "without", pairs, per_shard=per_shard)
        found, others = read(Path(directory) / "with"), read(Path(directory) / "without")
    assert [p.revision_factors for p in found] == [these or (1.0, 1.0) for these in factors]
    assert [replace(p, revision_factors=None) for p in found] == others


def test_shards_of_two_kinds_are_not_one_set(tmp_path: Path) -> None:
    with_factors = write(tmp_path / "with", PAIRS, with_factors=True)
    manifest = write(tmp_path / "set", PAIRS)
    stray = with_factors.shards[-1]
    (tmp_path / "set" / stray.file).write_bytes((tmp_path / "with" / stray.file).read_bytes())
    write_manifest(tmp_path / "set", replace(manifest, shards=(*manifest.shards[:-1], stray)))
    with pytest.raises(StorageError, match="not the shard that the manifest describes"):
        read(tmp_path / "set")


def test_best_samples_are_stored_if_asked_for_and_counted_like_other_answers(tmp_path: Path) -> None:
    pairs = [replace(one, best_ids=(9, 200_000, *range(index))) for index, one in enumerate(PAIRS)]
    pairs[2] = replace(pairs[2], best_ids=None)
    manifest = write(tmp_path / "with", pairs, with_best=True)
    assert read(tmp_path / "with") == [replace(one, best_ids=one.best_ids or ()) for one in pairs]
    assert (manifest.largest_id, manifest.longest_sequence) == (200_000, 3 + 2 + 6)
    write(tmp_path / "both", pairs, with_best=True, with_factors=True)
    assert {one.revision_factors for one in read(tmp_path / "both")} == {(1.0, 1.0)}
    write(tmp_path / "without", pairs)
    assert read(tmp_path / "without") == PAIRS
    assert has_column(tmp_path / "with", BEST)
    assert not has_column(tmp_path / "without", BEST)
    assert shard_sizes(tmp_path / "with").answered["best"] == len(PAIRS) - 1
    assert "best" not in shard_sizes(tmp_path / "without").answered


def test_pairs_are_found_by_their_ids_in_the_order_asked_for(tmp_path: Path) -> None:
    write(tmp_path, PAIRS)
    found = find_pairs(tmp_path, ["pair-6", "no such pair", "pair-0", "pair-4"])
    assert found == [PAIRS[6], PAIRS[0], PAIRS[4]]
    assert find_pairs(tmp_path, []) == []


def test_a_directory_without_a_manifest_is_incomplete_and_written_again(tmp_path: Path) -> None:
    def interrupted() -> Iterator[WeighedPair]:
        yield from PAIRS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, interrupted())
    assert read_manifest(tmp_path) is None
    with pytest.raises(StorageError, match="no complete shard set"):
        read(tmp_path)
    write(tmp_path, PAIRS[:2])
    assert read(tmp_path) == PAIRS[:2]
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


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "is missing"),
        ("truncated", r"has \d+ bytes, the manifest says \d+"),
        ("garbled", "its content is not what was written"),
        ("manifest", "damaged manifest"),
        ("version", "damaged manifest"),
        ("later version", "format version 99, this release reads 2"),
    ],
)
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, damage: str, reason: str) -> None:
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
    elif damage == "later version":  # which seals what it writes
        victim = manifest
        write_sealed(manifest, read_sealed(manifest) | {"version": 99})
    else:
        victim = manifest
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99}))
    with pytest.raises(StorageError, match=f"{victim}.*{reason}"):
        read(tmp_path)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/set: cannot write"):
        write(tmp_path / "file" / "set", PAIRS)


def flipped(path: Path, rng: random.Random) -> bytes:
    """Flip one bit of a file; return its content before."""
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
            read(tmp_path)
        path.write_bytes(before)
    assert read(tmp_path) == PAIRS


def test_a_set_of_an_earlier_release_has_no_hashes_and_is_read_without_a_check(tmp_path: Path) -> None:
    write(tmp_path, PAIRS)
    path = tmp_path / "manifest.json"
    fields = json.loads(path.read_text())
    del fields["sha256"]
    for shard in fields["shards"]:
        del shard["sha256"]
    path.write_text(json.dumps(fields))
    assert read(tmp_path) == PAIRS
