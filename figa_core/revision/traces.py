"""Finds traces of how an answer was written that are no part of a text, by comparing with the draft. Pure.

Escapes and entities, characters that were decoded wrongly, marks of citations, a word in two scripts, HTML
or backslashes where the draft has none, a phrase that repeats without end, "..." in place of a part of the
draft, and what the answer left out although the reference says it too. What the draft or the reference has is
no trace.
"""

import re
from collections import Counter
from collections.abc import Sequence
from operator import eq

from figa_core.revision.words import Word, coverage, find_words, kept_words

_ESCAPE = re.compile(
    r"\\[nrt\"](?![a-z])|\\u[0-9a-fA-F]{4}|&(?:amp|lt|gt|quot|apos|nbsp|#x?[0-9a-fA-F]{2,5});"
)
_GARBLED = re.compile(
    r"[\ufffd\x00-\x08\x0b\x0e-\x1f]"
    # UTF-8 that was read as Windows-1252: ’ becomes â€™, é becomes Ã©, a no-break space Â and itself
    r"|â€[\x80-\xbf™œžšŸ\u0152\u017d\u0160\u2018-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a]|[ÃÂ][\x80-\xbf]"
)
_CITATION = re.compile(r"[\ue000-\uf8ff]|【[^【】\n]{0,40}†[^【】\n]{0,80}】")
_TWO_SCRIPTS = re.compile("[a-zA-Z][\u0400-\u04ff]|[\u0400-\u04ff][a-zA-Z]")
_MARKUP = re.compile(r"</?(?:br|p|div|span|ul|ol|li|table|tr|td|h[1-6])\b[^<>\n]*>", re.IGNORECASE)
_ABOUT_MARKUP = re.compile(r"<[a-z/!]|\bhtml\b", re.IGNORECASE)
_BACKSLASHED = re.compile(r"\S*\\[*_#`~]\S*")
_DOTS = r"(?:\.{3,}|…)"
_ELISION = re.compile(
    rf"(?:(?<=\s)|(?<=[.!?])|\A)\[?{_DOTS}\]?(?=\s|\Z)"
    rf"|^[ \t]*(?:#|//|--|/\*|<!--)[ \t]*{_DOTS}",
    re.MULTILINE,
)
_LEFT_OUT_MIN = 3  # words of the draft that an elision replaces
_PERIOD_MAX = 20
_LOOP_WORDS = 12
_LOOP_TURNS = 3  # a phrase that comes four times, one after another
_PART = 0.7  # of the draft's words: an answer with fewer may be a part of it
_KNOWN = 0.7  # of the letters of what is left out, in the reference


def find_trace(draft: str, text: str, reference: str | None, conversation: str) -> str | None:
    """Why `text` (Ỹ) is not what its author meant as a revision of `draft` (Ŷ), or None."""
    known = (draft, reference or "")
    for name, form in (
        ("escaped characters", _ESCAPE),
        ("characters that could not be decoded", _GARBLED),
        ("marks of citations", _CITATION),
        ("a word in two scripts", _TWO_SCRIPTS),
    ):
        if (found := form.search(text)) and not any(map(form.search, known)):
            return f"the answer holds {name} ({found.group()!r})"
    if (tag := _MARKUP.search(text)) and not any(map(_ABOUT_MARKUP.search, (*known, conversation))):
        return f"the answer holds HTML ({tag.group()}) where the draft has none"
    for found in _BACKSLASHED.finditer(text) if "\\" in text else ():
        if found.group() not in draft and re.sub(r"\\([*_#`~])", r"\1", found.group()) in draft:
            return f"the answer puts backslashes before the draft's characters ({found.group()!r})"
    words = find_words(text)
    return _repeats(known, text, words) or _leaves_out(draft, text, words, reference)


def _repeats(known: Sequence[str], text: str, words: Sequence[Word]) -> str | None:
    start, length = _longest_loop(words)
    if length < _LOOP_WORDS:
        return None
    if length <= _LOOP_WORDS + max(_longest_loop(find_words(each))[1] for each in known):
        return None
    phrase = text[words[start].start : words[min(start + length, len(words)) - 1].end]
    return f"the answer repeats itself without end ({phrase[:60]!r})"


def _longest_loop(words: Sequence[Word]) -> tuple[int, int]:
    """Where the longest run begins that repeats a phrase, and its length in words."""
    keys = [word.key for word in words]
    best = (0, 0)
    if max(Counter(zip(keys, keys[1:], keys[2:], strict=False)).values(), default=0) < _LOOP_TURNS:
        return best  # as nearly every answer: three words that come again are in every loop
    for period in range(1, min(_PERIOD_MAX, len(keys) // (_LOOP_TURNS + 1)) + 1):
        same = bytes(map(eq, keys[period:], keys))
        run = max(map(len, same.split(b"\0")))
        if run >= _LOOP_TURNS * period and run + period > best[1]:
            best = (same.index(b"\1" * run), run + period)
    return best


def _leaves_out(draft: str, text: str, after: Sequence[Word], reference: str | None) -> str | None:
    before = find_words(draft)
    if len(after) > len(before) - _LEFT_OUT_MIN:
        return None
    elision = _ELISION.search(text)
    if elision and not any(map(_ELISION.search, (draft, reference or ""))):
        return f"the answer leaves out a part of the response ({elision.group().strip()!r})"
    if not reference or len(after) >= _PART * len(before):
        return None
    kept = set(kept_words(before, after))
    gone = [word for index, word in enumerate(before) if index not in kept]
    if coverage(gone, reference) < _KNOWN or coverage(gone, text) >= _KNOWN:
        return None
    return "the answer leaves out what the response and the reference both say"
