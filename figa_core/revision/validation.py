"""Whether an answer is a revision: rules over draft and answer, with a reason for every rejection. Pure.

The order matters: how the provider says that its answer ended (refused, cut, for an unknown reason) comes
before the text, and what surrounds a revision before the size of its edit.
"""

import re
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from figa_core.llm.finish import End, read_finish
from figa_core.records import RevisionStatus
from figa_core.revision.prompt import TAGS
from figa_core.revision.thoughts import Answer
from figa_core.revision.traces import find_trace
from figa_core.revision.words import count_words, coverage, edit_share, find_words
from figa_core.revision.wrapping import find_wrapping

_WORDS_FOR_EDIT_SHARE_MIN = 8  # a draft of three words may have to change entirely
_KNOWN_LETTERS_MIN = 0.2  # share of an answer to such a draft that is in the draft or the reference

REWRITE = "a rewrite instead of a revision: edit share above"
READS_AS_REFUSAL = "the answer reads as a refusal:"

_TAG = re.compile(rf"<\s*/?\s*(?:{'|'.join(TAGS)})\s*>", re.IGNORECASE)
_CONTROL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?s>|<[be]os>"
)
_EDGE_TAG = re.compile(
    r"\A\s*(</?[^\W\d_][\w-]*(?:\s[^<>]*)?>|<<[^<>\n]{1,40}>>)|(</?[^\W\d_][\w-]*>|<<[^<>\n]{1,40}>>)\s*\Z"
)
_EDIT_MARKS = (  # tracked changes, and marks that only show where a change was made
    re.compile(r"~~[^~\n]+~~"),
    re.compile(r"\[-[^\]\n]+-\]|\{\+[^}\n]+\+\}"),
    re.compile(r"\{(?:--|\+\+|~~|==|>>)[^{}\n]+(?:--|\+\+|~~|==|<<)\}"),
    re.compile(r"</?(?:del|ins|mark|strike|s|u|b|strong|em|i)>", re.IGNORECASE),
    re.compile(r"\*\*[^\s*][^*\n]*\*\*"),
    re.compile(r"(?<![\w*])\*\w(?:[^*\n]{0,60}\w)?\*(?![\w*])"),
    re.compile(r"(?<![\w=])==\w[^=\n]*=="),
    re.compile(r"(?<!\w)\[[^\W\d][^\]\[,=(){}\n]*\](?!\()"),
    re.compile(r"(?<![\w<])<[A-Z][A-Z_ ]{2,30}>"),  # a name that was taken out
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
    r"(?:i['’]?m (?:so |very |really )?sorry|i am sorry|sorry|i apologi[sz]e|my apologies|unfortunately)?"
    r"[,.;:!\s—–-]*(?:but )?(?:i|we|as an ai)\b[^.\n]{0,40}\b(?:can(?:no|['’])t|cannot|won['’]t|"
    r"(?:am|are|['’]m|['’]re) (?:unable|not able)|must decline|(?:have|need) to decline|decline to)\b",
    re.IGNORECASE,
)
_APOLOGY_ELSEWHERE = re.compile(  # only with a verb of helping: "I cannot" alone may be the answer
    r"[^!?。\n]{0,60}?(?:nicht (?:weiter)?helfen|\bne \w+ pas (?:vous |t['’])?aider"
    r"|\bno (?:puedo|podemos) (?:\w+ )?(?:ayudar|asistir)|\bnão (?:posso|podemos|consigo) (?:\w+ )?ajud"
    r"|\bnon posso (?:\w+ )?aiut|не (?:могу|можем) (?:\w+ )?помочь"
    r"|(?:无法|不能)\w{0,6}(?:帮助|协助|满足)|お手伝い[^。]{0,6}(?:できません|かねます)|도와드릴 수 없)",
    re.IGNORECASE,
)


class Judgement(NamedTuple):
    """The status that an answer gives its row; `reason` is None for a plain success."""

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
        answer: the answer's text, or what `read_answer` made of it; white space at its ends is ignored.
        finish_reason, refusal: the provider's.
        reference: Y, if there is one: what it contains is not a wrapping.
        conversation: the text of the messages before.
        max_edit_share: an answer above it is a rewrite (`edit_share`).
    """
    read = answer if isinstance(answer, Answer) else Answer(answer or "")
    if (unfit := _unfit_end(finish_reason, refusal)) is not None:
        return unfit
    text = read.text.strip()
    if read.problem is not None or not text:
        return Judgement(RevisionStatus.REJECTED, read.problem or "the answer is empty")
    around = (
        _leaked_frame(draft.strip(), text, reference)
        or find_trace(draft, text, reference, conversation)
        or find_wrapping(draft, text, reference, conversation)
    )
    if around is not None:
        return Judgement(RevisionStatus.REJECTED, around)
    if text == draft.strip():
        return Judgement(RevisionStatus.UNCHANGED, "the reviser found nothing to change")
    return judge_edit(draft, text, reference, max_edit_share)


def _unfit_end(finish_reason: str | None, refusal: str | None) -> Judgement | None:
    """The judgement if the provider says that the answer is refused, cut or otherwise not whole."""
    end = read_finish(finish_reason)
    if refusal or end is End.REFUSED:
        return Judgement(RevisionStatus.REFUSED, f"the reviser refused: {refusal or 'content filter'}")
    if end is End.CUT:
        return Judgement(RevisionStatus.REJECTED, "the answer was cut by length; raise revision.max_tokens")
    if end in (End.WHOLE, End.UNSTATED):
        return None
    reason = f"finish_reason {finish_reason!r} is not known to mean a whole answer"
    return Judgement(RevisionStatus.REJECTED, reason)


def _leaked_frame(draft: str, text: str, reference: str | None) -> str | None:
    """Why `text` is more than the revised response, by leftovers of a prompt or an edit."""
    known = (draft, reference or "")
    for kind, form in (("the prompt's tags", _TAG), ("control tokens", _CONTROL_TOKEN)):
        gained = _gained(form.findall, text, draft, reference if form is _CONTROL_TOKEN else None)
        if gained is not None:
            return f"the answer repeats {kind} ({gained})"
    if (preamble := _PREAMBLE.match(text)) and not _PREAMBLE.match(draft):
        return f"the answer begins with a preamble ({preamble.group()!r})"
    for tag in filter(None, chain.from_iterable(_EDGE_TAG.findall(text))):
        if not any(tag in other for other in known):
            return f"the answer has a tag at its beginning or end ({tag})"
    for form in _EDIT_MARKS:
        if (mark := form.search(text)) and not any(map(form.search, known)):
            return f"the answer marks something ({mark.group()!r}) where the draft has no such marks"
    return None


def _gained(find: Callable[[str], list[str]], text: str, draft: str, reference: str | None) -> str | None:
    """The first mark that `text` has more often than the draft and than the reference."""
    found = [mark.lower() for mark in find(text)]
    known = [[mark.lower() for mark in find(other)] for other in (draft, reference or "")]
    return next((mark for mark in found if all(found.count(mark) > k.count(mark) for k in known)), None)


def above_limit(max_edit_share: float) -> str:
    """The beginning of the reason if an answer is a rewrite by this limit."""
    return f"{REWRITE} {max_edit_share:g} (it is "


def judge_edit(draft: str, text: str, reference: str | None, max_edit_share: float) -> Judgement:
    """The last rule: whether `text`, which has no white space at its ends, edits the draft or replaces it."""
    short = count_words(draft) < _WORDS_FOR_EDIT_SHARE_MIN
    share = edit_share(draft, text)
    if not short and share <= max_edit_share:
        return Judgement(RevisionStatus.SUCCEEDED)
    if any(_begins_in(form, text, draft, reference) for form in (_APOLOGY, _APOLOGY_ELSEWHERE)):
        return Judgement(RevisionStatus.REFUSED, f"{READS_AS_REFUSAL} {text[:80]!r}")
    if not short:
        return Judgement(RevisionStatus.REJECTED, f"{above_limit(max_edit_share)}{share:.2f})")
    unrelated = _unrelated(draft, text, reference)
    return Judgement(RevisionStatus.REJECTED if unrelated else RevisionStatus.SUCCEEDED, unrelated)


def _unrelated(draft: str, text: str, reference: str | None) -> str | None:
    """Why the answer to a short draft, which may change entirely, is no revision of it; None if it may be."""
    if _begins_in(_NO_CHANGE, text, draft, reference):
        return f"the answer speaks of the response instead of revising it: {text[:80]!r}"
    words = find_words(text)
    if reference and words and max(coverage(words, draft), coverage(words, reference)) < _KNOWN_LETTERS_MIN:
        return "the answer has nothing of the response or of the reference"
    return None


def _begins_in(form: re.Pattern[str], text: str, draft: str, reference: str | None) -> bool:
    """Whether `text` begins in this form, and neither draft nor reference does."""
    return form.match(text) is not None and not any(map(form.match, (draft, reference or "")))
