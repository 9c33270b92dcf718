"""Minimal corrections by rule, for the sandbox's teacher, and the mistakes that it can be told to make.

Only faults are changed, so a correct draft comes back as it was. The order matters: wrong values first (two
sentences that differ only in a wrong value then repeat each other), then deletions, then additions.
"""

import hashlib
from collections.abc import Mapping, Sequence

from figa_core.sandbox.texts import Span, is_finished, mentions, sentence_key, sentences, stated_facts
from figa_core.sandbox.verifier import has_greeting, is_closing, is_rude
from figa_core.sandbox.vocabulary import SLOT_VALUES, WRITER_STYLE, Slot

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
"""Sentences for facts that a draft leaves out. Each one is added if all of its facts are still missing."""


def correct(prompt_text: str, draft: str, reference: str | None = None) -> str:
    """Correct a draft with as few edits as the rules need.

    The facts are the prompt's; those that it does not state are the reference's. Text that is not a reply
    at all gets the missing parts added. Never raises.
    """
    facts = {**stated_facts(reference or ""), **stated_facts(prompt_text)}
    text = _replace_wrong_values(draft, facts)
    text = _delete(text, [span for span in sentences(text) if is_rude(span.text)])
    text = _delete_repeated(_delete_unfinished(text))
    return _add_closing(_add_missing_facts(_add_greeting(text, facts), facts))


def spoil(prompt_text: str, draft: str) -> str:
    """What a mistaken reviser makes of a draft: one of its values is wrong afterwards, and nothing is better.

    The sandbox's verifier never prefers it to the draft. A draft without values stays as it is.
    """
    facts, known = stated_facts(prompt_text), list(mentions(draft))
    if not known:
        return draft
    digest = hashlib.sha256(draft.encode("utf-8", "surrogatepass")).digest()
    slot = known[digest[0] % len(known)][0]
    words = [word for each, word in known if each is slot]  # all of them, so that no sentence stops repeating
    taken = {facts.get(slot), *(word.text for word in words)}
    wrong = [value for value in SLOT_VALUES[slot] if value not in taken]
    text = draft
    for word in reversed(words):
        text = text[: word.start] + wrong[digest[1] % len(wrong)] + text[word.end :]
    return text


def _replace_wrong_values(text: str, facts: Mapping[Slot, str]) -> str:
    wrong = [(slot, word) for slot, word in mentions(text) if slot in facts and word.text != facts[slot]]
    for slot, word in reversed(wrong):
        text = text[: word.start] + facts[slot] + text[word.end :]
    return text


def _delete(text: str, spans: Sequence[Span]) -> str:
    """Delete sentences, each with the whitespace that joined it to its neighbours."""
    for span in reversed(spans):
        before, after = text[: span.start], text[span.end :]
        is_last = before.strip() and not after.strip()
        text = before.rstrip() + after if is_last else before + after.lstrip()
    return text


def _delete_repeated(text: str) -> str:
    spans = sentences(text)
    keys = [sentence_key(span.text) for span in spans]
    return _delete(text, [span for index, span in enumerate(spans) if keys[index] in keys[:index]])


def _delete_unfinished(text: str) -> str:
    """Delete a last sentence that breaks off; a closing only needs its full stop."""
    spans = sentences(text)
    if not spans or is_finished(text):
        return text
    last = spans[-1]
    if is_closing(last.text):
        return text[: last.end] + "." + text[last.end :]
    return _delete(text, [last])


def _add_greeting(text: str, facts: Mapping[Slot, str]) -> str:
    if has_greeting(text) or Slot.NAME not in facts:
        return text
    if any(slot is Slot.NAME for slot, _ in mentions(text)):
        return f"Hello, {text}"
    return f"Dear {facts[Slot.NAME]}, {text if text.strip() else 'thank you for your message.'}"


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
    """Sign the reply. The text decides which closing it gets, so that equal drafts get equal ones."""
    spans = sentences(text)
    if spans and is_closing(spans[-1].text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    closing = WRITER_STYLE.closings[digest[0] % len(WRITER_STYLE.closings)]
    return f"{text.rstrip()} {closing}".lstrip()
