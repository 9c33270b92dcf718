"""A change is what two texts differ in, if the scheme marks a token of it; the rest is shown as it is."""

import dataclasses
from pathlib import Path

import pytest

from figa_core.annotation.changes import Verdict, keys_of, stretches
from figa_core.records import EditClass
from figa_core.shards.read import PairsByPlace
from figa_core.shards.write import write_shards

from .made import decode, weighed


def shown(before: str, after: str, scheme: str = "levenshtein") -> list[tuple[str, str, bool]]:
    found = stretches(weighed("p", before, after, scheme), decode)
    assert "".join(stretch.before for stretch in found) == before
    assert "".join(stretch.after for stretch in found) == after
    return [(stretch.before, stretch.after, stretch.key is not None) for stretch in found]


def test_neighbouring_edits_are_one_change() -> None:
    assert shown("a cat sat", "a dogs sat") == [
        ("a ", "a ", False),
        ("cat", "dogs", True),
        (" sat", " sat", False),
    ]
    assert shown("abc", "c") == [("ab", "", True), ("c", "c", False)]
    assert shown("c", "cab") == [("c", "c", False), ("", "ab", True)]


def test_what_the_scheme_does_not_mark_is_no_change() -> None:
    """The bag of words finds both letters in the other text, wherever they are."""
    assert not any(marked for _, _, marked in shown("ab", "ba", "bag_of_words"))
    assert any(marked for _, _, marked in shown("ab", "ba"))


def test_a_token_that_an_llm_graded_as_unimportant_is_no_change() -> None:
    pair = weighed("p", "ab", "axb")
    classes = tuple(EditClass.UNIMPORTANT if c else c for c in pair.revision_classes)
    assert keys_of(stretches(dataclasses.replace(pair, revision_classes=classes), decode)) == []


def test_the_end_of_turn_is_not_shown() -> None:
    pair = weighed("p", "ab", "ac")
    end, classes = (7, 8), (EditClass.END_OF_TURN,) * 2
    closed = dataclasses.replace(
        pair,
        response_ids=pair.response_ids + end,
        response_classes=(*pair.response_classes, 0, 0),
        revision_ids=pair.revision_ids + end,
        revision_classes=(*pair.revision_classes, *map(int, classes)),
    )
    assert stretches(closed, decode) == stretches(pair, decode)


@pytest.mark.parametrize(("before", "after"), [("я", "ю"), ("a 😀!", "a 😁!"), ("漢字", "漢語")])
def test_a_change_within_a_character_has_the_whole_character(before: str, after: str) -> None:
    """Tokens are bytes here, and the first bytes of both characters, or the last, are the same."""
    pair = weighed("p", before.encode().decode("latin-1"), after.encode().decode("latin-1"))
    found = stretches(pair, lambda ids: bytes(ids).decode(errors="replace"))
    [changed] = [stretch for stretch in found if stretch.key is not None]
    assert changed.before in before
    assert changed.after in after
    assert changed.before != changed.after
    assert changed.before
    assert changed.after


def test_a_key_does_not_depend_on_the_run_but_on_the_scheme() -> None:
    one, other = (keys_of(stretches(weighed(name, "abcd", "axcd"), decode)) for name in ("p", "q"))
    assert one == other == ["1-2:1-2"]


def test_a_verdict_on_the_change_the_other_way_round() -> None:
    assert [verdict.reversed for verdict in Verdict] == [Verdict.WORSE, Verdict.DOES_NOT, Verdict.MATTERS]


@pytest.mark.parametrize(
    ("before", "after", "scheme"),
    [
        ("ab", "ba", "bag_of_words"),
        ("ab", "ba", "levenshtein"),
        ("aab", "abb", "bag_of_words"),
        ("a", "ab", "levenshtein"),
    ],
)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut off"])
def test_a_set_knows_which_pairs_have_a_change(
    tmp_path: Path, before: str, after: str, scheme: str, cut: bool
) -> None:
    """`cut`: Ŷ is cut off where its own tokens look like an end of turn."""
    pair = weighed("p", before, after, scheme)
    end, closing = (ord(before[-1]),), (int(EditClass.END_OF_TURN),)
    closed = dataclasses.replace(
        pair,
        response_ids=pair.response_ids + (() if cut else end),
        response_classes=pair.response_classes + (() if cut else closing),
        revision_ids=pair.revision_ids + end,
        revision_classes=pair.revision_classes + closing,
    )
    write_shards(
        tmp_path,
        [closed],
        shard_set_id="s",
        tokenizer_hash="t",
        template_hash="t",
        scheme=scheme,
        max_length=1024,
        pairs_per_shard=1,
    )
    pairs = PairsByPlace(tmp_path)
    assert pairs.marked == [bool(keys_of(stretches(pairs[0], decode)))]
