"""Is what came back a revision? Pure rules over draft and answer; every "no" says which rule it was.

The order matters: what the provider says about its own answer (refused, cut) comes before what the text
looks like, and a leaked instruction is named before the size of the edit it causes.
"""

import re
from typing import NamedTuple

import Levenshtein

from figa_core.records import RevisionStatus
from figa_core.revision.prompt import TAGS

MIN_WORDS_FOR_EDIT_SHARE = 8  # a draft of three words may well have to change entirely

_TAG = re.compile(rf"</?(?:{'|'.join(TAGS)})>")
_EDITED = r"(?:revised|corrected|improved|edited|updated|fixed)"
_PREAMBLE = re.compile(
    rf"""(?:(?:sure|certainly|of\ course|absolutely|okay|ok)\b[\s,.!:—-]*)?
        (?:here(?:\ is|\ are|['’]s)\b[^\n:]{{0,60}}\b(?:{_EDITED}|response|revision|version)\b[^\n:]{{0,40}}:
          |(?:the\ |my\ )?{_EDITED}\ (?:response|answer|version|reply|text)\b[^\n:]{{0,40}}:
          |i(?:\ have|['’]ve)\ {_EDITED}\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_APOLOGY = re.compile(
    r"(?:i['’]?m sorry|i am sorry|sorry|i apologi[sz]e)?[,.\s]*(?:but )?"
    r"(?:i|as an ai)\b[^.\n]{0,40}\b(?:can(?:no|['’])t|cannot|am unable|am not able|won['’]t)\b",
    re.IGNORECASE,
)


class Judgement(NamedTuple):
    """What an answer makes of its row, and why; `reason` is None for a plain success."""

    status: RevisionStatus
    reason: str | None = None


def judge_answer(
    draft: str,
    answer: str | None,
    finish_reason: str | None,
    refusal: str | None,
    *,
    max_edit_share: float = 0.8,
) -> Judgement:
    """Decide on one answer.

    Args:
        draft: Ŷ, as it was sent.
        answer: the text that came back; ends and fences of tags need no care.
        finish_reason: the provider's: "stop", "length", "content_filter" …
        refusal: the provider's refusal message, if it has such a field.
        max_edit_share: see `edit_share`; an answer above it is a rewrite.
    """
    if refusal or finish_reason == "content_filter":
        return Judgement(RevisionStatus.REFUSED, f"the reviser refused: {refusal or 'content filter'}")
    if finish_reason == "length":
        return Judgement(RevisionStatus.REJECTED, "the answer was cut by length; raise revision.max_tokens")
    text = (answer or "").strip()
    if not text:
        return Judgement(RevisionStatus.REJECTED, "the answer is empty")
    leaked = _leaked_frame(draft.strip(), text)
    if leaked is not None:
        return Judgement(RevisionStatus.REJECTED, leaked)
    if text == draft.strip():
        return Judgement(RevisionStatus.UNCHANGED, "the reviser found nothing to change")
    return _judge_edit(draft, text, max_edit_share)


def edit_share(draft: str, answer: str) -> float:
    """1 − Levenshtein.ratio over words: 0 for equal texts, 1 for texts without a common word in order."""
    return 1.0 - Levenshtein.ratio(draft.split(), answer.split())


def restore_ends(draft: str, answer: str) -> str:
    """`answer` with the white space at its ends that `draft` has: stripping it is no edit."""
    body = draft.strip()
    if not body:
        return answer.strip()
    start = draft.index(body)
    return draft[:start] + answer.strip() + draft[start + len(body) :]


def _leaked_frame(draft: str, text: str) -> str | None:
    """Why `text` holds more than the revised response, or None."""
    tag = _TAG.search(text)
    if tag is not None and tag.group() not in draft:
        return f"the answer repeats the prompt's tags ({tag.group()})"
    preamble = _PREAMBLE.match(text)
    if preamble is not None and not _PREAMBLE.match(draft):
        return f"the answer begins with a preamble ({preamble.group()!r})"
    for mark, name in (("```", "a code fence"), ('"', "quotation marks")):
        if text.startswith(mark) and text.endswith(mark) and not draft.startswith(mark):
            return f"the answer is wrapped in {name}"
    return None


def _judge_edit(draft: str, text: str, max_edit_share: float) -> Judgement:
    if len(draft.split()) < MIN_WORDS_FOR_EDIT_SHARE:
        return Judgement(RevisionStatus.SUCCEEDED)
    share = edit_share(draft, text)
    if share <= max_edit_share:
        return Judgement(RevisionStatus.SUCCEEDED)
    if _APOLOGY.match(text) and not _APOLOGY.match(draft):
        return Judgement(RevisionStatus.REFUSED, f"the answer reads as a refusal: {text[:80]!r}")
    return Judgement(
        RevisionStatus.REJECTED,
        f"a rewrite instead of a revision: edit share above {max_edit_share:g} (it is {share:.2f})",
    )
