"""A draft or an answer as words, lines and sentences. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from figa_core.revision.words import find_words

LIST_MARK = re.compile(r"\s*(?:([-*•‣–+|>])|\d{1,3}[.)])\s")
_CODE = re.compile(
    r"[{}();=\[\]]|\\\w|^\s*(?:import|from|using|package|use|require|return|end|pass|break|fi|done|else|"
    r"#include|@\w+)\b"
)
_SENTENCE = re.compile(r"[^.!?…。！？؟।]+[.!?…。！？؟।]*[\"'”’»」』)\]）]*\s*|[.!?…。！？؟।]+\s*")


@dataclass(frozen=True, slots=True)
class Line:
    """A line with words: its place in the text, and the indices of its words there."""

    text: str
    start: int
    end: int
    words: range


class Side:
    """One of the two texts, without the white space at its ends."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.words = find_words(self.text)

    @cached_property
    def lines(self) -> list[Line]:
        """The lines that have words."""
        every = self._parts(re.finditer(r"[^\n]+", self.text), range(len(self.words)))
        return [line for line in every if line.words]

    def sentences(self, line: Line) -> list[Line]:
        """The sentences of a line, each with the white space after it; the last may have no words."""
        return list(self._parts(_SENTENCE.finditer(self.text, line.start, line.end), line.words))

    def _parts(self, matches: Iterable[re.Match[str]], words: range) -> Iterator[Line]:
        first = words.start
        for match in matches:
            last = first
            while last < words.stop and self.words[last].start < match.end():
                last += 1
            yield Line(match.group(), match.start(), match.end(), range(first, last))
            first = last

    @cached_property
    def prefix(self) -> str:
        """The text before the first word."""
        return self.text[: self.words[0].start] if self.words else self.text

    @cached_property
    def suffix(self) -> str:
        """The text after the last word."""
        return self.text[self.words[-1].end :] if self.words else ""


def continues(line: str, beside: str, draft: str) -> bool:
    """Whether a new line continues the draft's list or code."""
    new, old = LIST_MARK.match(line), LIST_MARK.match(beside)
    if new is not None and old is not None and new.group(1) == old.group(1):
        return True
    code = [_CODE.search(one) is not None for one in draft.splitlines() if one.strip()]
    return len(code) > 1 and sum(code) * 2 >= len(code) and _CODE.search(line) is not None
