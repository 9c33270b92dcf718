"""Whether an answer is cut, for servers that do not report it. Pure.

Many small servers send no `finish_reason`, or null, for whole and for cut answers. Such an answer counts as
cut if it used up its tokens, if its JSON or its thoughts break off, or if the draft's last words are missing
and it does not end as the draft does.
"""

import unicodedata

from figa_core.llm.calls import CallOutcome
from figa_core.llm.finish import End, read_finish
from figa_core.llm.reply import Reply
from figa_core.revision.thoughts import Answer
from figa_core.revision.words import find_words, kept_words

_TAIL_SHARE = 0.2  # of the draft's words, missing at the end of a cut answer
_WHOLE_FROM = 1.5  # times the draft's words: a longer answer may end differently


def is_cut(reply: Reply, answer: Answer, draft: str, max_tokens: int) -> bool:
    """Whether `reply` does not report its end and looks cut; `answer` is its text, `max_tokens` its limit."""
    if reply.outcome is not CallOutcome.ANSWERED or read_finish(reply.finish_reason) is not End.UNSTATED:
        return False
    used_up = reply.completion_tokens is not None and reply.completion_tokens >= max_tokens
    return used_up or answer.cut or (answer.problem is None and breaks_off(draft, answer.text))


def breaks_off(draft: str, text: str) -> bool:
    """Whether `text` ends before the end of the draft that it revises."""
    draft_words, words = find_words(draft), find_words(text)
    if not words or not draft_words or words[-1].key == draft_words[-1].key:
        return False
    open_end = _is_ended(draft) and not _is_ended(text)
    if len(words) > _WHOLE_FROM * len(draft_words):
        return open_end
    missing = len(draft_words) - 1 - max(kept_words(draft_words, words), default=-1)
    return missing > 0 and (open_end or missing > max(2, _TAIL_SHARE * len(draft_words)))


def _is_ended(text: str) -> bool:
    """Whether the last character ends a sentence, in any script, or closes a quotation or bracket."""
    last = text.rstrip()[-1:]
    return last not in (",", ";", ":", "-", "、", "，") and unicodedata.category(last or "x")[0] in "PS"
