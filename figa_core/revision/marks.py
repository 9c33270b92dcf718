"""Marks that an answer gained at its ends: quotes, brackets, emphasis, fences, tags. Pure."""

import re
import unicodedata

from figa_core.revision.sides import LIST_MARK, Side

_START_MARK = re.compile(r"(#{1,6}\s|>\s?|[-*•‣+]\s|\d{1,3}[.)]\s|```|~~~)")
_OPENERS = "$＂\"'`´“”„‟«»‹›‘’‚‛「『《〈〝([{（【〔［<*_~|=#-"
_CLOSERS = "$＂\"'`´“”„‟«»‹›‘’‛」』》〉〞)]}）】〕］>*_~|=#-"
_PARTNERS = ('"', "＂", "“”„‟", "«»", "‹›", "「」", "『』", "《》", "()", "（）", "[]", "{}", "【】", "`")
_MACRO = re.compile(r"[$\\\[(\s]*(\\[A-Za-z]+)\{(?=.*\}\W*\Z)", re.DOTALL)


def find_marks(draft: Side, answer: Side, reference: str) -> str | None:
    """Why the marks around `answer` are not an edit of `draft`, or None; those in `reference` are an edit."""
    at = (draft, answer, reference)
    return _marks_at_the_start(*at) or _marks_at_both_ends(*at) or _mark_at_one_end(*at)


def _marks_at_the_start(draft: Side, answer: Side, reference: str) -> str | None:
    """The mark of a heading, quotation, list or fence before a text that has none."""
    mark = _START_MARK.match(answer.text)
    if mark is None or _START_MARK.match(draft.text) or reference.lstrip().startswith(mark.group()):
        return None
    name = mark.group().strip()
    if name in ("```", "~~~"):  # not if the draft has code too, or text follows: then the lines decide
        wrapped = name not in draft.text and answer.text.rstrip().endswith(name)
        return "the answer is wrapped in a code fence" if wrapped else None
    items = sum(LIST_MARK.match(line.text) is not None for line in answer.lines)
    if name[0] not in "#>" and items > 1 and not any(map(LIST_MARK.match, draft.text.split("\n"))):
        return None  # made into a list
    return f"the answer begins with {name!r}, which the draft does not"


def _marks_at_both_ends(draft: Side, answer: Side, reference: str) -> str | None:
    """Quotes, brackets, emphasis, tags or rules around the whole text."""
    gained = [
        [mark for mark in side if mark in allowed and side.count(mark) > known.count(mark)]
        for side, known, allowed in (
            (answer.prefix, draft.prefix, _OPENERS),
            (answer.suffix, draft.suffix, _CLOSERS),
        )
    ]
    macro = _MACRO.match(answer.text)
    if macro is not None and not _MACRO.match(draft.text) and macro.group() not in reference:
        return f"the answer is wrapped in {macro.group(1)}{{}}"
    if not all(gained) or (reference and Side(reference).prefix == answer.prefix):
        return None
    if gained[0][0] in "\"'“”„‟«»‹›‘’‚‛「『《〈〝":
        return f"the answer is wrapped in quotation marks ({gained[0][0]} {gained[1][-1]})"
    return f"the answer is wrapped in {gained[0][0]} {gained[1][-1]}"


def _mark_at_one_end(draft: Side, answer: Side, reference: str) -> str | None:
    """A quotation mark or bracket without its partner; a symbol before the text."""
    text, known = answer.text, draft.text
    first = text[0]
    if unicodedata.category(first) == "So" and first not in known + reference:
        return f"the answer begins with {first!r}, which the draft has not"
    for marks in _PARTNERS:
        side = "begins" if first in marks else "ends" if text[-1] in marks else None
        if side is not None and _is_single(text, marks) and not _is_single(known, marks):
            if side == "ends" and text[-2:-1] in (":", ";", "-"):
                continue  # a smiley
            return f"the answer {side} with {first if side == 'begins' else text[-1]!r} without its partner"
    return None


def _is_single(text: str, marks: str) -> bool:
    """Whether a pair of marks is incomplete."""
    return sum(map(text.count, marks)) % 2 == 1
