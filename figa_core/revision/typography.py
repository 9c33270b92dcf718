"""Puts back the draft's characters where a reviser replaced them throughout, which nobody asked for. Pure.

Models and servers replace characters by habit: straight quotes by curved ones, dots by one character,
spaces by others, the marks of a list, line ends, composed characters by decomposed ones. Or they add
invisible ones, such as spaces at line ends. Every such place would count as an edit and be trained on. A
character is put back only if the draft has its form throughout, and neither the draft nor the reference has
the answer's.
"""

import re
import unicodedata

import Levenshtein

_INVISIBLE = re.compile("[\u00ad\u180e\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
_BLACK_FLAG = "\U0001f3f4"  # those of some countries are spelt with invisible characters
_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f]")
_SPACES_AT_LINE_END = re.compile(r"[ \t]+(?=\r?\n)")
_SINGLE, _DOUBLE = "‘’‚‛", "“”„‟"
_BULLET = re.compile(r"^([ \t]*)([-*•‣+])(?=[ \t])", re.MULTILINE)


def as_in_draft(text: str, draft: str, reference: str | None) -> str:
    """The answer's `text` (Ỹ) with the characters of the draft (Ŷ), see the module's docstring."""
    if text == draft or not draft:
        return text
    known = draft + (reference or "")
    text = _same_line_ends(text, draft)
    text = _INVISIBLE.sub(lambda found: found[0] if _belongs(found[0], text, known) else "", text)
    text = _same_normal_form(text, draft, reference or "")  # one of them may have parted letter and accent
    if not _SPACES.search(known):
        text = _SPACES.sub(" ", text)
    if not _SPACES_AT_LINE_END.search(known):
        text = _SPACES_AT_LINE_END.sub("", text)
    for straight, curved in (("'", _SINGLE), ('"', _DOUBLE)):
        text = _same_quotes(text, draft, known, straight, curved)
    for theirs, ours in (("…", "..."), ("...", "…")):
        if ours in draft and theirs not in known:
            text = text.replace(theirs, ours)
    return _same_bullets(text, draft, reference or "")


def _belongs(character: str, text: str, known: str) -> bool:
    return character in known or (ord(character) >= 0xE0000 and _BLACK_FLAG in text)


def _same_line_ends(text: str, draft: str) -> str:
    """Line ends as the draft has them, if all of its are alike."""
    windows = draft.count("\r\n")
    if "\r" not in draft:
        return text.replace("\r\n", "\n").replace("\r", "\n")
    if windows == draft.count("\n") == draft.count("\r"):
        return text.replace("\r\n", "\n").replace("\n", "\r\n")
    return text


def _same_normal_form(text: str, draft: str, reference: str) -> str:
    for form in ("NFC", "NFD"):
        if all(unicodedata.is_normalized(form, known) for known in (draft, reference)):
            return unicodedata.normalize(form, text)
    return text


def _same_quotes(text: str, draft: str, known: str, straight: str, curved: str) -> str:
    has_curved = any(mark in known for mark in curved)
    if straight in draft and not has_curved:
        return re.sub(f"[{curved}]", straight, text)
    if straight in known or not has_curved or straight not in text:
        return text
    letters = list(text)  # only the draft shows whether a straight mark opens or closes
    for kind, there, here in Levenshtein.editops(draft, text):
        if kind == "replace" and draft[there] in curved and text[here] == straight:
            letters[here] = draft[there]
    return "".join(letters)


def _same_bullets(text: str, draft: str, reference: str) -> str:
    """The mark of the draft's lists, if they all have one mark and the answer's all have another."""
    ours, theirs, others = ({mark for _, mark in _BULLET.findall(each)} for each in (draft, text, reference))
    if len(ours) != 1 or len(theirs) != 1 or theirs <= ours | others:
        return text
    return _BULLET.sub(lambda found: found[1] + next(iter(ours)), text)
