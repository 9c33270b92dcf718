"""Compares the words of two texts, in any script. Pure.

Most scripts put spaces between words. Chinese, Japanese, Thai, Lao, Khmer, Burmese and Tibetan do not: there
each character, with its marks, counts as a word.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import Levenshtein
from rapidfuzz.distance import Indel

_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han and kana
)
_MARK = "[\u0e30-\u0e3a\u0e45\u0e47-\u0e4e\u0eb0-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b6-\u17d3\u3099\u309a]"
_PIECE = rf"[{_UNSPACED}]{_MARK}*"
_JOINED = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"  # marks within words
_TOKEN = re.compile(rf"{_PIECE}|(?:[^\W_{_UNSPACED}]|[{_JOINED}])+")
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_SPLIT = re.compile(rf"({_PIECE})|([^{_UNSPACED}]+)")


class Word(NamedTuple):
    """A word of a text, case-folded for comparison, and its place."""

    key: str
    start: int
    end: int


def find_words(text: str) -> list[Word]:
    """The words of `text`, without punctuation, in order."""
    return [Word(match.group().casefold(), match.start(), match.end()) for match in _TOKEN.finditer(text)]


def count_words(text: str) -> int:
    """About how many words `text` has: in scripts without spaces two characters count as one."""
    words = text.split()
    pieces = len(_UNSPACED_CHARACTER.findall(text))
    spaced = sum(_UNSPACED_CHARACTER.search(word) is None for word in words)
    return spaced + math.ceil(pieces / 2)


def is_unspaced(text: str) -> bool:
    """Whether `text` has a character of a script without spaces."""
    return _UNSPACED_CHARACTER.search(text) is not None


def edit_share(draft: str, answer: str) -> float:
    """1 − Levenshtein.ratio over words: 0 for equal texts, 1 for texts without a common word.

    In scripts without spaces it counts pairs of neighbouring characters, since single ones occur in any text.
    """
    return 1.0 - Levenshtein.ratio(_units(draft), _units(answer))


def kept_words(draft: Sequence[Word], answer: Sequence[Word]) -> list[int]:
    """The indices of the words of `draft` that `answer` keeps: the longest common subsequence."""
    blocks = Indel.opcodes([word.key for word in draft], [word.key for word in answer])
    return [i for block in blocks if block.tag == "equal" for i in range(block.src_start, block.src_end)]


def place_words(
    draft: Sequence[Word], answer: Sequence[Word], kept: Sequence[int], *, late: bool = False
) -> list[int | None]:
    """For each word of `answer` the index of its kept word in `draft`, None for a new word.

    Words are matched as early in `answer` as possible, or with `late` as late as possible: then nothing that
    is added after (or before) is matched by chance.
    """
    matched: list[int | None] = [None] * len(answer)
    step = -1 if late else 1
    place = len(answer) if late else -1
    for index in reversed(kept) if late else kept:
        place += step
        while answer[place].key != draft[index].key:
            place += step
        matched[place] = index
    return matched


def coverage(words: Sequence[Word], text: str) -> float:
    """The share of `words`, by letters, that `text` has in the same order; 0 if there are no words."""
    letters = sum(len(word.key) for word in words)
    if not letters:
        return 0.0
    there = find_words(text)
    return sum(len(there[index].key) for index in kept_words(there, words)) / letters


def restore_ends(draft: str, answer: str) -> str:
    """`answer` with the white space of `draft` at its ends: stripping it is not an edit.

    An answer without any text stays empty, and a draft without any has no ends.
    """
    body, text = draft.strip(), answer.strip()
    if not body or not text:
        return text
    before, after = draft.split(body, 1)
    return before + text + after


def _units(text: str) -> list[str]:
    """The units of an edit share: words; in unspaced scripts each character with the one before it."""
    if not is_unspaced(text):
        return text.split()
    units = []
    for word in text.split():
        if _UNSPACED_CHARACTER.search(word) is None:
            units.append(word)
            continue
        pieces = [piece or other for piece, other in _SPLIT.findall(word)]
        units.extend(map("".join, zip(["", *pieces], pieces, strict=False)))
    return units
