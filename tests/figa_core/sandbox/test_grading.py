"""The teacher's scores of changed words."""

import pytest

from figa_core.grading.grader import GraderSettings
from figa_core.grading.prompt import render
from figa_core.grading.reader import read_scores
from figa_core.ports import GradeRequest
from figa_core.records import Message
from figa_core.sandbox.grading import word_scores
from figa_core.sandbox.teacher_rules import answer
from figa_core.sandbox.vocabulary import SLOT_OF_WORD, WRITER_STYLE

FACT, OTHER_FACT, *_ = SLOT_OF_WORD
CLOSING = WRITER_STYLE.closings[0]


def test_facts_matter_most_and_punctuation_not_at_all() -> None:
    marked = f'Hello, <w n="1">{FACT}</w> is <w n="2">really</w> <w n="3">{OTHER_FACT}</w><w n="4">!</w>'
    assert word_scores(marked, {FACT}) == {1: 5, 2: 3, 3: 3, 4: 0}


def test_a_word_of_the_closing_matters_little() -> None:
    first, rest = CLOSING.split(" ", 1)
    assert word_scores(f'It <w n="1">goes</w>. <w n="2">{first}</w> {rest}', set()) == {1: 3, 2: 1}


@pytest.mark.parametrize(("scheme", "scores"), [("llm_graded", (5, 0)), ("llm_binary", (1, 0))])
def test_the_teacher_answers_in_the_form_that_it_is_asked_for(scheme: str, scores: tuple[int, ...]) -> None:
    revision = f"It is {FACT}!"
    words = ((6, 6 + len(FACT)), (len(revision) - 1, len(revision)))
    conversation = (Message("user", f"I want it {FACT}."),)
    request = GradeRequest("grade", conversation, f"It is {OTHER_FACT}.", revision, None, words)
    settings = GraderSettings.built_in(scheme, "m")
    user = render(settings.template, request, 5)[-1]["content"]
    assert read_scores(answer(user), 2, scheme) == scores
