"""The changed words of a revision, and the word that each of its tokens belongs to. Pure.

An LLM grades words, the loss weighs tokens. A word is a run of letters and digits (`don't`, `well-known` and
`3.14` are one each), or a run of other characters (punctuation, an emoji) between words and spaces. In
scripts without spaces each character is a word of its own, and changed ones that touch are graded together:
an edit of four characters is one question, not four.

A token belongs to the word in which its first visible character is. White space belongs to the word after it,
or at the end of the text to the last one. So every changed token belongs to exactly one changed word, even if
the tokenizer splits a character or joins two words.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from figa_core.records import EditClass
from figa_core.revision.words import Word, find_words, is_unspaced

Span = tuple[int, int]
"""Start and end of a piece of a text, in characters."""

_JOINERS = frozenset("'’.,:_-/@")
_CHANGED = frozenset(map(int, (EditClass.INSERTED, EditClass.SUBSTITUTED)))


def words_of(text: str) -> list[Span]:
    """The words of `text`, in order; all visible characters are in one. A blank text is one word."""
    found: list[Span] = []
    place = 0
    for start, end in _joined(text, find_words(text)):
        found += _visible(text, place, start)
        found.append((start, end))
        place = end
    found += _visible(text, place, len(text))
    return found or [(0, len(text))]


def words_of_tokens(text: str, words: Sequence[Span], tokens: Iterable[Span]) -> list[int]:
    """For each token, given by its place in `text`, the index of its word."""
    starts = [start for start, _ in words]
    ends = [end for _, end in words]
    found = []
    for start, end in tokens:
        visible = next((place for place in range(start, end) if not text[place].isspace()), None)
        # White space belongs to the first word that ends after it.
        index = bisect_right(ends, start) if visible is None else bisect_right(starts, visible) - 1
        found.append(min(max(index, 0), len(words) - 1))
    return found


def changed_words(
    text: str, tokens: Sequence[Span], classes: Sequence[int]
) -> tuple[list[Span], list[int | None]]:
    """The words of a revision that have an inserted or substituted token.

    `tokens` are the places of its tokens, and `classes` their `EditClass`es. Also returns, for each token,
    the index of its changed word, None for a token that is not changed.
    """
    words = words_of(text)
    word_of_token = words_of_tokens(text, words, tokens)
    changed = [
        word if value in _CHANGED else None for word, value in zip(word_of_token, classes, strict=True)
    ]
    spans: list[Span] = []
    index_of: dict[int, int] = {}
    for group in _together(text, words, sorted({word for word in changed if word is not None})):
        index_of |= dict.fromkeys(group, len(spans))
        spans.append((words[group[0]][0], words[group[-1]][1]))
    return spans, [None if word is None else index_of[word] for word in changed]


def _joined(text: str, words: Sequence[Word]) -> Iterator[Span]:
    """Words with those that a single joining character connects, such as an apostrophe."""
    found: list[Span] = []
    for word in words:
        spaced = not is_unspaced(text[word.start : word.end])
        if found and spaced and _touches(text, found[-1], word.start):
            found[-1] = (found[-1][0], word.end)
        else:
            found.append((word.start, word.end))
    return iter(found)


def _touches(text: str, before: Span, start: int) -> bool:
    end = before[1]
    return start == end + 1 and text[end] in _JOINERS and not is_unspaced(text[before[0] : end])


def _visible(text: str, start: int, end: int) -> Iterator[Span]:
    """The runs of visible characters between two places."""
    for blank, run in groupby(range(start, end), key=lambda place: text[place].isspace()):
        if not blank:
            places = list(run)
            yield places[0], places[-1] + 1


def _together(text: str, words: Sequence[Span], changed: Sequence[int]) -> Iterator[list[int]]:
    """The changed words, with those in one group that touch and are in a script without spaces."""
    group: list[int] = []
    for index in changed:
        if group and not (
            index == group[-1] + 1
            and words[group[-1]][1] == words[index][0]
            and is_unspaced(text[slice(*words[group[-1]])])
            and is_unspaced(text[slice(*words[index])])
        ):
            yield group
            group = []
        group.append(index)
    if group:
        yield group
