"""Removes a reasoning model's thoughts from its answer, if the rest is clearly the answer.

Servers without a reasoning parser leave them in the content. Each family of models marks them differently,
often without the opening mark, which is in the prompt's template. A draft or a reference may have such marks
too (when a reasoning model is aligned, or discussed); as many of them are not the reviser's.
"""

import re
from typing import NamedTuple

from figa_core.revision.words import count_words, edit_share

_NAMES = (
    r"think(?:ing)?|thoughts?|reason(?:ing)?|reflect(?:ion)?|analysis|deliberation|rationale|cot|"
    r"scratch[_ -]?pad|chain[_ -]?of[_ -]?thoughts?|"
    r"(?:inner|internal|self)[_ -]?(?:monologue|thoughts?|reflection|reasoning)|"
    r"(?:reasoning|thinking|thought)[_ -]?(?:content|process|steps?)"
)
_OPENING = re.compile(
    rf"<\s*(?:\w+:)?(?:{_NAMES})(?:\s[^<>]*)?>|◁(?:{_NAMES})▷|\[(?-i:THINK|THINKING|REASONING|THOUGHTS?)\]|"
    rf"<\|(?:(?:begin|start)_(?:of_)?)?(?:{_NAMES})\|>|<\|inner_prefix\|>|<\|channel>thought",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"<\s*/\s*(?:\w+:)?(?:{_NAMES})\s*>|◁/(?:{_NAMES})▷|\[/(?-i:THINK|THINKING|REASONING|THOUGHTS?)\]|"
    rf"<\|(?:/|end_(?:of_)?)(?:{_NAMES})\|>|<\|inner_suffix\|>|<channel\|>",
    re.IGNORECASE,
)
_HARMONY = re.compile(r"<\|channel\|>\s*(\w+)(?:(?!<\|channel\|>).)*?<\|message\|>", re.DOTALL)  # gpt-oss
_HARMONY_BARE = re.compile(r"\A(?:analysis|commentary)(?=\W|[A-Z]).*assistantfinal", re.DOTALL)  # no marks
_SPOKEN = re.compile(r"\A\W*Here is my thought process:.*^\W*Here is my response:", re.DOTALL | re.MULTILINE)
TURN_ENDS = re.compile(
    r"(?:\s*(?:<\|(?:im_end|eot_id|end|return|endoftext|end_of_text|eom_id|end_of_turn|end_of_solution|"
    r"END_RESPONSE|END_OF_TURN_TOKEN|end_of_box)\|>|<end_of_turn>|<turn\|>|<eos>|</s>|<｜end▁of▁sentence｜>))+\s*\Z"
)
"""The marks of many chat templates after an assistant's answer, at the end of a text."""
_ANSWER_STARTS = re.compile(r"\A\s*(?:<\|(?:START_RESPONSE|begin_of_solution|begin_of_box)\|>)\s*")
_ANSWER_BLOCK = re.compile(
    r"\A\s*<(answer|response|output|solution|final|final_answer|result)>(.*)</\1>\s*\Z",
    re.DOTALL | re.IGNORECASE,
)
_FOREIGN_THOUGHTS = 0.7  # edit share above which thoughts are not a revision of the draft's
_WORDS_MIN = 8


class Answer(NamedTuple):
    """The answer in a text, or the `problem` with it; `cut`: it breaks off."""

    text: str
    problem: str | None = None
    cut: bool = False


def strip_thoughts(text: str, *originals: str) -> Answer:
    """`text` without the reviser's thoughts and the marks of its chat template.

    Marks that occur in one of `originals` (the draft, and the reference if there is one) are not thoughts.
    """
    if not any("<|channel|>" in known for known in originals):
        if channels := list(_HARMONY.finditer(text)):
            if channels[-1].group(1) != "final":
                return Answer("", "the answer holds thoughts and breaks off before the revision", cut=True)
            text = text[channels[-1].end() :]
        for form in (_HARMONY_BARE, _SPOKEN):
            if (spoken := form.match(text)) is not None:
                return _unwrapped(text[spoken.end() :], *originals)
    text = _without_turn_end(text, *originals)
    return _strip_blocks(text, *originals) or Answer(text, _foreign_thoughts(text, *originals))


def _strip_blocks(text: str, *originals: str) -> Answer | None:
    """The text after the blocks of thoughts, or before them; None if there are none."""
    closings, openings = list(_CLOSING.finditer(text)), list(_OPENING.finditer(text))
    allowed = max((len(_CLOSING.findall(known)) for known in originals), default=0)
    allowed_open = max((len(_OPENING.findall(known)) for known in originals), default=0)
    if len(closings) <= allowed and len(openings) <= allowed_open:
        return None
    rest = text
    if len(closings) > allowed:
        rest = text[closings[len(closings) - allowed - 1].end() :]
        if not rest.strip() and openings:
            rest = text[: openings[0].start()]
    if len(_OPENING.findall(rest)) > allowed_open:
        return Answer("", "the answer holds thoughts that do not end before the revision", cut=True)
    if not rest.strip():
        return Answer("", "the answer holds thoughts only")
    return _unwrapped(rest, *originals)


def _unwrapped(text: str, *originals: str) -> Answer:
    """The answer after thoughts, without the tags that the same models put around it."""
    text = _without_turn_end(_ANSWER_STARTS.sub("", text), *originals)
    block = _ANSWER_BLOCK.match(text)
    if block is not None and not any(f"<{block.group(1)}>" in known for known in originals):
        text = block.group(2)
    return Answer(text) if text.strip() else Answer("", "the answer holds thoughts only")


def _without_turn_end(text: str, *originals: str) -> str:
    ends = TURN_ENDS.search(text)
    if ends is None or any(ends.group().strip() in known for known in originals):
        return text
    return text[: ends.start()]


def _foreign_thoughts(text: str, *originals: str) -> str | None:
    """Why the first thoughts in `text` are not a revision of the draft's, or None."""
    thoughts = _first_thoughts(text)
    if thoughts is None or count_words(thoughts) < _WORDS_MIN:
        return None
    known = [block for block in map(_first_thoughts, originals) if block is not None]
    if any(edit_share(block, thoughts) <= _FOREIGN_THOUGHTS for block in known):
        return None
    return "the answer begins with thoughts that are not the draft's"


def _first_thoughts(text: str) -> str | None:
    closing = _CLOSING.search(text)
    if closing is None:
        return None
    opening = _OPENING.search(text, 0, closing.start())
    return text[opening.end() if opening else 0 : closing.start()]
