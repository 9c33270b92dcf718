"""Scores of changed words by rule, for the sandbox's teacher in the place of a grader."""

import json
import re
from collections.abc import Collection

from figa_core.sandbox.texts import Span, sentences, stated_facts, words
from figa_core.sandbox.verifier import is_closing

_MARKED = re.compile(r'<w n="(\d+)">(.*?)</w>', re.DOTALL)
_BINARY = '"matter"'  # the field of a binary answer, which the instructions name
_FACT, _OTHER, _CLOSING, _PUNCTUATION = 5, 3, 1, 0
_MATTERS = 3


def grade(user_text: str, conversation: str, revision: str, reference: str | None) -> str:
    """The answer to a question about the numbered words of `revision`: JSON, as `user_text` asks for it.

    A word that states a fact of the conversation or the reference gets 5, punctuation 0, a word of the
    closing 1, and any other 3. From 3 on a word matters.
    """
    facts = {*stated_facts(reference or "").values(), *stated_facts(conversation).values()}
    scores = word_scores(revision, facts)
    if _BINARY in user_text:
        return json.dumps({"matter": [number for number, score in scores.items() if score >= _MATTERS]})
    return json.dumps({"scores": [{"word": number, "score": score} for number, score in scores.items()]})


def word_scores(revision: str, facts: Collection[str]) -> dict[int, int]:
    """The score of each numbered word."""
    plain, places = _unmarked(revision)
    closings = [span for span in sentences(plain) if is_closing(span.text)]
    return {number: _score(place, facts, closings) for number, place in places.items()}


def _unmarked(revision: str) -> tuple[str, dict[int, Span]]:
    """The revision without its marks, and where its numbered words are."""
    text, places, place = "", dict[int, Span](), 0
    for match in _MARKED.finditer(revision):
        text += revision[place : match.start()]
        places[int(match.group(1))] = Span(match.group(2), len(text), len(text) + len(match.group(2)))
        text, place = text + match.group(2), match.end()
    return text + revision[place:], places


def _score(word: Span, facts: Collection[str], closings: list[Span]) -> int:
    inside = [each.text for each in words(word.text)]
    if any(each in facts for each in inside):
        return _FACT
    if not inside:
        return _PUNCTUATION
    return _CLOSING if any(span.start <= word.start < span.end for span in closings) else _OTHER
