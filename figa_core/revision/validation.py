"""Is what came back a revision? Pure rules over draft and answer; every "no" says which rule it was.

The order matters: what the provider says about its own answer (refused, cut, ended for a reason that nobody
knows) comes before what the text looks like, and what is around a revision is named before the size of
the edit that it makes.
"""

import re
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from figa_core.llm.finish import End, read_finish
from figa_core.records import RevisionStatus
from figa_core.revision.prompt import TAGS
from figa_core.revision.thoughts import Answer
from figa_core.revision.words import count_words, coverage, edit_share, find_words
from figa_core.revision.wrapping import find_wrapping

MIN_WORDS_FOR_EDIT_SHARE = 8  # a draft of three words may well have to change entirely
_KNOWN_LETTERS_MIN = 0.2  # of such a change, said by the draft or the reference

REWRITE = "a rewrite instead of a revision: edit share above"
READS_AS_REFUSAL = "the answer reads as a refusal:"

_TAG = re.compile(rf"<\s*/?\s*(?:{'|'.join(TAGS)})\s*>", re.IGNORECASE)
_CONTROL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?s>|<[be]os>"
)
_ESCAPE = re.compile(
    r"\\[nrt\"](?![a-z])|\\u[0-9a-fA-F]{4}|&(?:amp|lt|gt|quot|apos|nbsp|#x?[0-9a-fA-F]{2,5});"
)
_GARBLED = re.compile(r"[\ufffd\x00-\x08\x0b\x0e-\x1f]")
_EDGE_TAG = re.compile(
    r"\A\s*(</?[^\W\d_][\w-]*(?:\s[^<>]*)?>|<<[^<>\n]{1,40}>>)|(</?[^\W\d_][\w-]*>|<<[^<>\n]{1,40}>>)\s*\Z"
)
_EDIT_MARKS = (  # a tracked change, and what only shows where one was made
    re.compile(r"~~[^~\n]+~~"),
    re.compile(r"\[-[^\]\n]+-\]|\{\+[^}\n]+\+\}"),
    re.compile(r"\{(?:--|\+\+|~~|==|>>)[^{}\n]+(?:--|\+\+|~~|==|<<)\}"),
    re.compile(r"</?(?:del|ins|mark|strike|s|u|b|strong|em|i)>", re.IGNORECASE),
    re.compile(r"\*\*[^\s*][^*\n]*\*\*"),
    re.compile(r"(?<![\w*])\*\w(?:[^*\n]{0,60}\w)?\*(?![\w*])"),
    re.compile(r"(?<![\w=])==\w[^=\n]*=="),
    re.compile(r"(?<!\w)\[[^\W\d][^\]\[,=(){}\n]*\](?!\()"),
)
_EDITED = r"(?:revised|corrected|improved|edited|updated|fixed)"
_PREAMBLE = re.compile(
    rf"""(?:(?:sure|certainly|of\ course|absolutely|okay|ok)\b[\s,.!:—-]*)?
        (?:here(?:\ is|\ are|['’]s)\b[^\n:]{{0,60}}\b(?:{_EDITED}|response|revision|version)\b[^\n:]{{0,40}}:
          |(?:the\ |my\ )?{_EDITED}\ (?:response|answer|version|reply|text)\b[^\n:]{{0,40}}:
          |i(?:\ have|['’]ve)\ {_EDITED}\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_NO_CHANGE = re.compile(
    r"\W*(?:no (?:changes|edits|corrections|revisions?)\b|"
    r"(?:the|this|your) (?:response|answer|text|draft) (?:is|looks) (?:already )?"
    r"(?:correct|fine|good|right)\b)",
    re.IGNORECASE,
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
    answer: str | Answer | None,
    finish_reason: str | None,
    refusal: str | None,
    *,
    reference: str | None = None,
    conversation: str = "",
    max_edit_share: float = 0.8,
) -> Judgement:
    """Decide on one answer.

    Args:
        draft: Ŷ, as it was sent.
        answer: the text that came back, or what `read_answer` made of it; ends need no care.
        finish_reason: the provider's: "stop", "length", "content_filter" …
        refusal: the provider's refusal message, if it has such a field.
        reference: Y, if there is one: what it says is no wrapping.
        conversation: the text of the messages before.
        max_edit_share: see `edit_share`; an answer above it is a rewrite.
    """
    read = answer if isinstance(answer, Answer) else Answer(answer or "")
    unfit = _unfit_end(finish_reason, refusal)
    if unfit is not None:
        return unfit
    text = read.text.strip()
    if read.problem is not None or not text:
        return Judgement(RevisionStatus.REJECTED, read.problem or "the answer is empty")
    around = _leaked_frame(draft.strip(), text, reference) or find_wrapping(
        draft, text, reference, conversation
    )
    if around is not None:
        return Judgement(RevisionStatus.REJECTED, around)
    if text == draft.strip():
        return Judgement(RevisionStatus.UNCHANGED, "the reviser found nothing to change")
    return judge_edit(draft, text, reference, max_edit_share)


def restore_ends(draft: str, answer: str) -> str:
    """`answer` with the white space at its ends that `draft` has: stripping it is no edit."""
    body = draft.strip()
    if not body:
        return answer.strip()
    start = draft.index(body)
    return draft[:start] + answer.strip() + draft[start + len(body) :]


def _unfit_end(finish_reason: str | None, refusal: str | None) -> Judgement | None:
    """What the provider's own words make of an answer, None where they speak for it."""
    end = read_finish(finish_reason)
    if refusal or end is End.REFUSED:
        return Judgement(RevisionStatus.REFUSED, f"the reviser refused: {refusal or 'content filter'}")
    if end is End.CUT:
        return Judgement(RevisionStatus.REJECTED, "the answer was cut by length; raise revision.max_tokens")
    if end in (End.WHOLE, End.UNSAID):
        return None
    return Judgement(
        RevisionStatus.REJECTED,
        f"finish_reason {finish_reason!r} is not known to mean a whole answer",
    )


def _leaked_frame(draft: str, text: str, reference: str | None) -> str | None:
    """Why `text` holds more than the revised response, by what it says alone, or None."""
    for kind, form in (("the prompt's tags", _TAG), ("control tokens", _CONTROL_TOKEN)):
        gained = _gained(form.findall, text, draft, reference if form is _CONTROL_TOKEN else None)
        if gained is not None:
            return f"the answer repeats {kind} ({gained})"
    preamble = _PREAMBLE.match(text)
    if preamble is not None and not _PREAMBLE.match(draft):
        return f"the answer begins with a preamble ({preamble.group()!r})"
    for tag in filter(None, chain.from_iterable(_EDGE_TAG.findall(text))):
        if tag not in draft and tag not in (reference or ""):
            return f"the answer has a tag at its beginning or end ({tag})"
    for form in _EDIT_MARKS:
        mark = form.search(text)
        if mark is not None and not any(form.search(known) for known in (draft, reference or "")):
            return f"the answer marks something ({mark.group()!r}) where the draft has no such marks"
    for name, form in (("escaped characters", _ESCAPE), ("characters that could not be decoded", _GARBLED)):
        found = form.search(text)
        if found is not None and not any(form.search(known) for known in (draft, reference or "")):
            return f"the answer holds {name} ({found.group()!r})"
    return None


def _gained(find: Callable[[str], list[str]], text: str, draft: str, reference: str | None) -> str | None:
    """The first mark that `text` has more often than the draft, and than the reference."""
    found = [mark.lower() for mark in find(text)]
    known = [[mark.lower() for mark in find(other)] for other in (draft, reference or "")]
    return next((mark for mark in found if all(found.count(mark) > k.count(mark) for k in known)), None)


def above_limit(max_edit_share: float) -> str:
    """How the reason begins if an answer is a rewrite by this limit."""
    return f"{REWRITE} {max_edit_share:g} (it is "


def judge_edit(draft: str, text: str, reference: str | None, max_edit_share: float) -> Judgement:
    """The last of the rules: whether `text` edits the draft or is another text; its ends are stripped."""
    apology = _says_first(_APOLOGY, text, draft, reference)
    refusal = Judgement(RevisionStatus.REFUSED, f"{READS_AS_REFUSAL} {text[:80]!r}")
    if count_words(draft) < MIN_WORDS_FOR_EDIT_SHARE:
        unrelated = _is_unrelated(draft, text, reference)
        if apology:
            return refusal
        return Judgement(RevisionStatus.REJECTED if unrelated else RevisionStatus.SUCCEEDED, unrelated)
    share = edit_share(draft, text)
    if share <= max_edit_share:
        return Judgement(RevisionStatus.SUCCEEDED)
    if apology:
        return refusal
    return Judgement(
        RevisionStatus.REJECTED,
        f"{above_limit(max_edit_share)}{share:.2f})",
    )


def _is_unrelated(draft: str, text: str, reference: str | None) -> str | None:
    """Why the answer to a short draft, which may change entirely, is no revision of it; None if it may be."""
    if _says_first(_NO_CHANGE, text, draft, reference):
        return f"the answer speaks of the response instead of revising it: {text[:80]!r}"
    words = find_words(text)
    if reference and words and max(coverage(words, draft), coverage(words, reference)) < _KNOWN_LETTERS_MIN:
        return "the answer has nothing of the response or of the reference"
    return None


def _says_first(form: re.Pattern[str], text: str, draft: str, reference: str | None) -> bool:
    """Whether `text` begins in a form in which neither draft nor reference begin."""
    return form.match(text) is not None and not any(form.match(known) for known in (draft, reference or ""))
