"""Minimal corrections by rule: what the sandbox's teacher knows.

Only faults are touched; every other character stays, a correct draft comes back as it was. The order
matters: wrong values first (two sentences that differ only in a wrong value are one repeated afterwards),
then deletions, then what is missing.
"""

import hashlib
from collections.abc import Mapping, Sequence

from figa_core.sandbox.texts import is_finished, mentions, sentence_key, sentences, stated_facts
from figa_core.sandbox.verifier import has_greeting, is_closing, is_rude
from figa_core.sandbox.vocabulary import WRITER_STYLE, Slot

_MISSING: Sequence[tuple[frozenset[Slot], str]] = (
    (frozenset({Slot.COLOUR, Slot.ITEM, Slot.STATUS}), "Your {colour} {item} has been {status}."),
    (frozenset({Slot.COLOUR, Slot.ITEM}), "It is about your {colour} {item}."),
    (frozenset({Slot.ITEM, Slot.STATUS}), "Your {item} has been {status}."),
    (frozenset({Slot.CITY, Slot.DAYS}), "It will reach {city} in {days} days."),
    (frozenset({Slot.COLOUR}), "It is the {colour} one."),
    (frozenset({Slot.ITEM}), "It is about your {item}."),
    (frozenset({Slot.STATUS}), "It has been {status}."),
    (frozenset({Slot.CITY}), "It goes to {city}."),
    (frozenset({Slot.DAYS}), "It will take {days} days."),
)
"""Sentences that supply facts a draft leaves out; the first one that supplies only missing facts is taken."""


def correct(prompt_text: str, draft: str, reference: str | None = None) -> str:
    """Correct a draft with as few edits as the rules need.

    The facts are those that the prompt states; what it does not state is taken from the reference. Text
    that is no reply at all gets the missing parts added. Never raises.
    """
    facts = {**stated_facts(reference or ""), **stated_facts(prompt_text)}
    text = _delete_rude(_replace_wrong_values(draft, facts))
    text = _delete_repeated(_delete_unfinished(text))
    return _add_closing(_add_missing_facts(_add_greeting(text, facts), facts))


def _replace_wrong_values(text: str, facts: Mapping[Slot, str]) -> str:
    wrong = [(slot, word) for slot, word in mentions(text) if slot in facts and word.text != facts[slot]]
    for slot, word in reversed(wrong):
        text = text[: word.start] + facts[slot] + text[word.end :]
    return text


def _delete(text: str, start: int, end: int) -> str:
    """Cut out a sentence with the whitespace that joined it to its neighbours."""
    before, after = text[:start], text[end:]
    if not before.strip():
        return before + after.lstrip()
    if not after.strip():
        return before.rstrip() + after
    return before + after.lstrip()


def _delete_rude(text: str) -> str:
    for span in reversed(sentences(text)):
        if is_rude(span.text):
            text = _delete(text, span.start, span.end)
    return text


def _delete_repeated(text: str) -> str:
    spans = sentences(text)
    keys = [sentence_key(span.text) for span in spans]
    for index in reversed(range(len(spans))):
        if keys[index] in keys[:index]:
            text = _delete(text, spans[index].start, spans[index].end)
    return text


def _delete_unfinished(text: str) -> str:
    """Drop a last sentence that breaks off; a closing only lacks its full stop."""
    spans = sentences(text)
    if not spans or is_finished(text):
        return text
    last = spans[-1]
    if is_closing(last.text):
        return text[: last.end] + "." + text[last.end :]
    return _delete(text, last.start, last.end)


def _add_greeting(text: str, facts: Mapping[Slot, str]) -> str:
    if has_greeting(text) or Slot.NAME not in facts:
        return text
    if any(slot is Slot.NAME for slot, _ in mentions(text)):
        return f"Hello, {text}"
    return (
        f"Dear {facts[Slot.NAME]}, {text}"
        if text.strip()
        else f"Dear {facts[Slot.NAME]}, thank you for your message."
    )


def _add_missing_facts(text: str, facts: Mapping[Slot, str]) -> str:
    missing = set(facts) - {slot for slot, _ in mentions(text)}
    if Slot.NAME in missing and has_greeting(text):
        text = _name_in_greeting(text, facts[Slot.NAME])
    added = []
    for supplied, phrase in _MISSING:
        if supplied <= missing:
            added.append(phrase.format(**{slot.value: facts[slot] for slot in supplied}))
            missing -= supplied
    return _insert_before_closing(text, " ".join(added)) if added else text


def _name_in_greeting(text: str, name: str) -> str:
    comma = text.find(",")
    first = sentences(text)[0]
    if first.start <= comma < first.end:
        return f"{text[:comma].rstrip()} {name}{text[comma:]}"
    return f"Dear {name}, {text}"


def _insert_before_closing(text: str, added: str) -> str:
    spans = sentences(text)
    if spans and is_closing(spans[-1].text):
        start = spans[-1].start
        return f"{text[:start]}{added} {text[start:]}"
    return f"{text.rstrip()} {added}".lstrip()


def _add_closing(text: str) -> str:
    """Sign the reply; which closing is decided by the text itself, so equal drafts get equal ones."""
    spans = sentences(text)
    if spans and is_closing(spans[-1].text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    closing = WRITER_STYLE.closings[digest[0] % len(WRITER_STYLE.closings)]
    return f"{text.rstrip()} {closing}".lstrip()
