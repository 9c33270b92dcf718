"""Finds what a model puts around a revision (labels, notes, quotes), by comparing with the draft. Pure.

No list of phrases covers introductions in every language. But a revision corresponds to its draft from the
first word to the last, and a wrapping has no counterpart in the draft. So the answer is aligned with the
draft, and the text before their first and after their last common word is examined:

- New lines are a wrapping, unless they replace lines of the draft, say what the reference says, are a
  salutation ("Dear Ann,"), or continue a list or code.
- New words on the revision's own line are an edit, unless a mark sets them off: a colon, dash or bracket
  between them and the draft's first word; a bracket, emphasis or label after its last sentence.
- Marks gained at both ends (quotes, brackets, emphasis, fences, tags; `marks.py`) are a wrapping.
- The text twice, or the user's question before it, is not a revision.

Without a reference, a new paragraph that could be either counts as a wrapping: the reviser is asked again,
with the reason.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from figa_core.revision.marks import find_marks
from figa_core.revision.sides import LIST_MARK, Line, Side, continues
from figa_core.revision.words import Word, coverage, find_words, is_unspaced, kept_words, place_words

_FOREIGN = 0.5  # a line with a smaller share of its letters in the draft has no counterpart there
_CLAIMED = 0.6  # of a draft line's words: a line that has them is its counterpart
_EXPLAINED = 0.5  # of a block's letters, in the reference
_REPEATED = 0.7  # of a block's letters, in the draft or the conversation
_TWICE = 0.5  # of the letters of all new words, in the draft
_SAME = 0.9  # of the letters of the first half, in the second
_REPLACED = 0.5  # words gone from the draft for each new word, if the new ones replace them
_REPLACED_INLINE = 0.3
_LABEL_WORDS = 10
_SHORT_LABEL_WORDS = 3
_SALUTATION_WORDS = 8
_REPEATED_WORDS = 4
_SHOWN = 60

_MARKS = r"\"'`´“”„‟«»‹›‘’‚‛「」『』《》〈〉〝〞*_~#|=<>(){}\[\]（）【】〔〕［］"
_ENDS_IN_LABEL = re.compile(rf"[:：][\s{_MARKS}]*\Z")
_LABEL = re.compile(rf"[:：](?=[\s{_MARKS}]|\Z)|：")
_SEPARATED = re.compile(rf"(?:[:：]|\s[-–—−]{{1,3}}|[→⇒|>=»\])}}）】])[\s{_MARKS}]*\Z")
_RULE = re.compile(r"\s*(?:-{3,}|\*{3,}|={3,}|_{3,}|~{3,}|#{3,}|(?:- ){2,}-|`{3,}.*|~{3,}.*)\s*\Z")
_HEADING = re.compile(r"\s*#{1,6}\s")
_ENCLOSED = re.compile(r"\s*(?:\*.*\*|_.*_|\[.*\]|\(.*\)|【.*】|（.*）|\{.*\}|<.*>)\s*\Z")
_SET_OFF = re.compile(
    r"[.!?…。！？؟।][\"'”’»」』)]*(?:</?\w+>)*\s*(?:[(\[{（【*_~#|/]|<!|[-–—]|->|=>)|(?:->|→|⇒|=>)"
)
_NOTE_LABEL = re.compile(
    r"(?:\A|[.!?…。！？؟।}>])[\s\"'”’»*_]*([^.!?…。！？؟।:：\n]{1,60})[:：](?=[\s*_]|\Z|(?<=：))"
)
_ARROW = re.compile(r"->|→|⇒|=>|➔|➜")
_QUOTED = re.compile(r"[\"'“”„«»‘’‚`「『]([^\"'“”„«»‘’‚`「」『』\n]{2,60})[\"'“”«»‘’`」』]")
_DASHED = re.compile(r"\s[-–—]+\s")
_SET_OFF_BARE = re.compile(r"\A\s+[(\[（【—–]")
_SENTENCE_IN_BRACKETS = re.compile(r"[(\[（【][^()（）\[\]]*[.!?…。！？][\"'”]?[)\]）】]\W*\Z")
_SENTENCE_OF_ITS_OWN = re.compile(rf"[.!?。？！؟][\s{_MARKS}]*\Z")
_SENTENCE_END = re.compile(r"[.!?…。！？؟।]\W*\Z")


def find_wrapping(
    draft: str, answer: str, reference: str | None = None, conversation: str = ""
) -> str | None:
    """Why `answer` (Ỹ) is more than a revision of `draft` (Ŷ), or None.

    What the `reference` (Y) has too is an edit. `conversation` is the text of the messages before.
    """
    pair = _Pair(Side(draft), Side(answer), reference or "", conversation)
    if pair.answer.text == pair.draft.text or not pair.answer.words:
        return None
    return (
        find_marks(pair.draft, pair.answer, pair.reference)
        or pair.lines_before()
        or pair.lines_after()
        or pair.words_before()
        or pair.words_after()
        or pair.repetition()
    )


@dataclass
class _Pair:
    draft: Side
    answer: Side
    reference: str
    conversation: str

    @cached_property
    def _kept(self) -> list[int]:
        return kept_words(self.draft.words, self.answer.words)

    @cached_property
    def _late(self) -> list[int | None]:
        return place_words(self.draft.words, self.answer.words, self._kept, late=True)

    @cached_property
    def _early(self) -> list[int | None]:
        return place_words(self.draft.words, self.answer.words, self._kept)

    def lines_before(self) -> str | None:
        """Lines without a counterpart before the first line that has one."""
        body = next((i for i, line in enumerate(self.answer.lines) if self._is_known(line, self._late)), None)
        lines = self.answer.lines[: body or 0]
        if body is None:
            return self._label_over_new_text()
        block = self.answer.text[: self.answer.lines[body].start]
        if rule := self._new_rule(block):
            return f"the answer begins with {rule!r}"
        if not lines:
            return None
        words = self._words(lines)
        first = next(i for i in self._late[self.answer.lines[body].words.start :] if i is not None)
        gone = next(line.words.start for line in self.draft.lines if first in line.words)
        if self._is_excused(block, words, gone, self.draft.lines[0], lines):
            return None
        return f"the answer begins with something that the draft has no counterpart of ({_shown(block)})"

    def lines_after(self) -> str | None:
        """Lines without a counterpart after the last line that has one."""
        known = [i for i, line in enumerate(self.answer.lines) if self._is_known(line, self._early)]
        if not known:
            return None
        body, lines = self.answer.lines[known[-1]], self.answer.lines[known[-1] + 1 :]
        if rule := self._new_rule(self.answer.text[body.end :]):
            return f"the answer goes on after the revision, behind {rule!r}"
        if not lines:
            return None
        block = self.answer.text[lines[0].start :]
        last = next(i for i in reversed(self._early[: body.words.stop]) if i is not None)
        kept_until = next(line.words.stop for line in self.draft.lines if last in line.words)
        gone = len(self.draft.words) - kept_until
        if self._is_excused(block, self._words(lines), gone, self.draft.lines[-1], lines):
            return None
        return f"the answer ends with something that the draft has no counterpart of ({_shown(block)})"

    def words_before(self) -> str | None:
        """A label or the user's question on the line where the revision begins."""
        first = next((i for i, index in enumerate(self._late) if index is not None), None)
        if not first:
            return None
        start = self.answer.text.rfind("\n", 0, self.answer.words[first].start) + 1
        head = self.answer.text[start : self.answer.words[first].start]
        words = [word for word in self.answer.words[:first] if word.start >= start]
        label = _LABEL.search(head)
        behind = len(find_words(head[label.end() :])) if label else 0
        gone = max(0, (self._late[first] or 0) - behind)
        if not words or gone >= _REPLACED_INLINE * (len(words) - behind) or self._label_known(head):
            return None
        labelled = label is not None and len(find_words(head[: label.start()])) <= _LABEL_WORDS
        if labelled or (len(words) <= _LABEL_WORDS and _SEPARATED.search(head)):
            return f"the answer begins with a label that the draft has not ({_shown(head)})"
        if len(words) >= _REPEATED_WORDS and coverage(words, self.reference) < _EXPLAINED:
            asked = coverage(words, self.conversation)
            if asked >= _REPEATED and _SENTENCE_OF_ITS_OWN.search(head):
                return f"the answer repeats the conversation ({_shown(head)})"
        return None

    def words_after(self) -> str | None:
        """A note on the line where the revision ends."""
        matched = [i for i, index in enumerate(self._early) if index is not None]
        if not matched:
            return None
        line = next(line for line in self.answer.lines if matched[-1] in line.words)
        start = min(self.answer.words[matched[-1]].end, self._first_new_sentence(line))
        before = [i for i in matched if self.answer.words[i].end <= start]
        gone = self.draft.text[self.draft.words[self._early[before[-1]] or 0].end :] if before else ""
        tail = self.answer.text[start : line.end]
        if self._quotes_edits(tail):
            return f"the answer ends with a note on its edits ({_shown(tail)})"
        note = self._find_note(tail)
        if note is None or self._find_note(gone) is not None:
            return None
        if coverage(find_words(note), self.reference) >= _EXPLAINED:
            return None
        return f"the answer ends with a note that the draft has not ({_shown(note)})"

    def _first_new_sentence(self, line: Line) -> int:
        """Where the last sentences of a line without a counterpart begin, with the mark before them."""
        start = line.end
        for sentence in reversed(self.answer.sentences(line)):
            if sentence.words and self._is_known(sentence, self._early):
                break
            start = sentence.start
        text = self.answer.text[line.start : start].rstrip()
        return line.start + max(0, len(text) - 1) if start < line.end else start

    def _find_note(self, tail: str) -> str | None:
        """The part that a mark sets off in the text after the last common word."""
        forms = [_SET_OFF, _SENTENCE_IN_BRACKETS]
        if not _SENTENCE_END.search(self.draft.suffix):
            forms.append(_SET_OFF_BARE if is_unspaced(self.draft.text) else _DASHED)
        found = [match.start() for match in (form.search(tail) for form in forms) if match is not None]
        labels = [(label.start(), len(find_words(label.group(1)))) for label in _NOTE_LABEL.finditer(tail)]
        found += [start for start, count in labels if 0 < count <= _LABEL_WORDS]
        return tail[min(found) :] if found else None

    def repetition(self) -> str | None:
        """The whole text twice: the new words are those of the draft or of the answer."""
        words, known = self.answer.words, self.draft.words
        if len(words) - len(known) < max(_REPEATED_WORDS, len(known) // 3):
            return None
        new = [word for word, index in zip(words, self._early, strict=True) if index is None]
        half = len(words) // 2
        twice = self.answer.text[words[half].start :]
        if coverage(new, self.draft.text) >= _TWICE or coverage(words[:half], twice) >= _SAME:
            return "the answer gives the text twice"
        return None

    def _label_over_new_text(self) -> str | None:
        """A first line that ends in a colon, above a text that shares no line with the draft."""
        lines = self.answer.lines
        if len(lines) < 2 or not _ENDS_IN_LABEL.search(lines[0].text) or self._label_known(lines[0].text):
            return None
        if LIST_MARK.match(lines[1].text) or _ENDS_IN_LABEL.search(self.draft.text.split("\n")[0]):
            return None
        return f"the answer begins with a label that the draft has not ({_shown(lines[0].text)})"

    def _is_known(self, line: Line, matched: Sequence[int | None]) -> bool:
        """Whether a line of the answer has a counterpart in the draft."""
        found = [(self.answer.words[i], matched[i]) for i in line.words if matched[i] is not None]
        letters = sum(len(self.answer.words[i].key) for i in line.words)
        if sum(len(word.key) for word, _ in found) >= _FOREIGN * letters:
            return True
        places = {index for _, index in found}
        return any(
            len(places & set(draft.words)) >= max(2, _CLAIMED * len(draft.words))
            for draft in self.draft.lines
        )

    def _is_excused(
        self, block: str, words: Sequence[Word], gone: int, beside: Line, lines: Sequence[Line]
    ) -> bool:
        """Whether new lines are an edit, see the module's docstring. `beside` is the draft's line there."""
        if all(continues(line.text, beside.text, self.draft.text) for line in lines) or self._is_moved(words):
            return True
        if self._quotes_edits(block):
            return False
        labelled = any(
            (_ENDS_IN_LABEL.search(line.text) or _HEADING.match(line.text) or _ENCLOSED.match(line.text))
            and not self._label_known(line.text)
            for line in lines
        )
        if labelled:
            similar = _ENDS_IN_LABEL.search(beside.text) or _HEADING.match(beside.text)
            return bool(similar) and gone >= _REPLACED * len(words)
        if gone >= _REPLACED * len(words):
            return True
        paragraphs = [find_words(paragraph) for paragraph in re.split(r"\n\s*\n", block)]
        explained = all(coverage(part, self.reference) >= _EXPLAINED for part in paragraphs if part)
        if explained and not self._is_labelled(lines[0].text):
            return coverage(words, self.draft.text) < _REPEATED
        salutation = lines[0].text.rstrip().endswith((",", "，", "、", "،"))
        return salutation and len(words) <= _SALUTATION_WORDS

    def _is_moved(self, words: Sequence[Word]) -> bool:
        """Whether new lines were moved from another place in the draft."""
        kept = set(self._kept)
        gone = Counter(word.key for i, word in enumerate(self.draft.words) if i not in kept)
        moved = (Counter(word.key for word in words) & gone).elements()
        return sum(map(len, moved)) >= _REPEATED * sum(len(word.key) for word in words)

    def _is_labelled(self, text: str) -> bool:
        """Whether a line begins with a label of a few words that neither draft nor reference has."""
        label = _LABEL.search(text)
        head = text[: label.end()] if label else ""
        return 0 < len(find_words(head)) <= _SHORT_LABEL_WORDS and not self._label_known(head)

    def _label_known(self, text: str) -> bool:
        """Whether the reference or the draft has the same words with the same colon or heading."""
        label = [word.key for word in find_words(text)]
        for known in (self.reference, self.draft.text):
            if any(label == [w.key for w in find_words(line)] for line in re.split(r"\n|(?<=[:：])", known)):
                return True
        return False

    def _quotes_edits(self, text: str) -> bool:
        """Whether `text` is about the edits: it has an arrow, or quotes what the answer removed."""
        known = self.draft.text + self.reference
        if any(arrow.group() not in known for arrow in _ARROW.finditer(text)):
            return True
        kept = set(self._kept)
        gone = {word.key for i, word in enumerate(self.draft.words) if i not in kept and len(word.key) > 1}
        quoted = {word.key for quote in _QUOTED.finditer(text) for word in find_words(quote.group(1))}
        return bool(quoted & gone) and not quoted <= {word.key for word in find_words(self.reference)}

    def _new_rule(self, text: str) -> str | None:
        """The first horizontal rule or fence in `text` that the draft does not have."""
        rules = (line.strip() for line in text.splitlines() if _RULE.match(line))
        return next((rule for rule in rules if rule not in self.draft.text), None)

    def _words(self, lines: Sequence[Line]) -> list[Word]:
        return [self.answer.words[i] for line in lines for i in line.words]


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= _SHOWN else flat[: _SHOWN - 1] + "…")
