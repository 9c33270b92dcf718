"""No wrapping is mistaken for a part of the revision, and no edit for a wrapping."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.records import RevisionStatus
from figa_core.revision.answer import read_answer
from figa_core.revision.validation import judge_answer
from figa_core.revision.wrapping import find_wrapping
from figa_core.sandbox.correction import correct
from figa_core.sandbox.world import faulty_reply, good_reply, sample_facts, write_request
from tests.figa_core.revision.natural_edits import EDITS
from tests.figa_core.revision.wrappings import CONVERSATION, PAIRS, WRAPPINGS, Pair, as_asked

_FINAL = (RevisionStatus.SUCCEEDED, RevisionStatus.UNCHANGED)


def judge(answer: str, pair: Pair):
    read = read_answer(answer, pair.draft, pair.reference)
    judgement = judge_answer(
        pair.draft, read, "stop", None, reference=pair.reference, conversation=CONVERSATION
    )
    return judgement, read.text.strip()


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_of_a_revision_is_found(wrapping: str):
    for name, pair in PAIRS.items():
        for text in (pair.revision, pair.draft):
            judgement, read = judge(WRAPPINGS[wrapping](text), pair)
            assert judgement.status not in _FINAL or read == text, (name, judgement)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_a_revision_without_a_wrapping_is_an_edit(pair: Pair):
    for answer in (pair.revision, as_asked(pair.revision)):
        assert judge(answer, pair) == ((RevisionStatus.SUCCEEDED, None), pair.revision)
    assert judge(as_asked(pair.draft), pair)[0].status is RevisionStatus.UNCHANGED


@pytest.mark.parametrize("pair", EDITS, ids=lambda pair: pair.revision[:30])
def test_a_natural_edit_is_not_a_wrapping(pair: Pair):
    for answer in (pair.revision, as_asked(pair.revision)):
        assert judge(answer, pair) == ((RevisionStatus.SUCCEEDED, None), pair.revision)


@given(st.integers(0, 2**32), st.sampled_from(sorted(WRAPPINGS)), st.booleans())
def test_a_wrapping_is_found_with_any_draft(seed: int, wrapping: str, given_reference: bool):
    rng = random.Random(seed)
    facts = sample_facts(rng)
    request = write_request(facts, rng)
    draft, reference = faulty_reply(facts, rng).text, good_reply(facts, rng).text
    revision = correct(request[-1].content, draft, reference)
    pair = Pair(draft, revision, reference if given_reference else None)
    for answer in (revision, as_asked(revision)):
        assert judge(answer, pair)[0].status in _FINAL
    judgement, read = judge(WRAPPINGS[wrapping](revision), pair)
    assert judgement.status not in _FINAL or read == revision, (judgement, read)


@given(st.text(max_size=40), st.text(max_size=40), st.none() | st.text(max_size=20))
def test_any_texts_can_be_compared(draft: str, answer: str, reference: str | None):
    find_wrapping(draft, answer, reference, answer)
    assert find_wrapping(draft, draft, reference) is None


def test_a_paragraph_is_an_edit_only_if_the_reference_has_it():
    draft = "Your lamp will arrive in Rome in three days."
    answer = f"{draft}\n\nPlease have your order number ready."
    assert find_wrapping(draft, answer, "Have your order number ready, please. It arrives soon.") is None
    assert "no counterpart" in str(find_wrapping(draft, answer, "It arrives in Rome next week."))
    assert "no counterpart" in str(find_wrapping(draft, answer))


def test_a_note_on_the_edits_is_one_even_in_the_words_of_the_reference():
    draft = "Your lamp will arrives in Rome in three days."
    answer = 'Your lamp will arrive in Rome in three days.\n\n"arrives" in Rome in three days was wrong'
    assert find_wrapping(draft, answer, "It will arrive in Rome in three days. That was wrong.") is not None


def test_lines_that_replace_the_drafts_are_an_edit():
    draft = "You fool, what a question that is.\n\nYour lamp will arrive in Rome in three days."
    answer = "Thank you very much for your message.\n\nYour lamp will arrive in Rome in three days."
    assert find_wrapping(draft, answer) is None


def test_the_reason_shows_the_wrapping_up_to_a_length():
    draft = "Your lamp will arrive in Rome in three days."
    reason = str(find_wrapping(draft, f"Ich habe {'sehr ' * 50}viel korrigiert.\n\n{draft}x"))
    assert "Ich habe sehr" in reason
    assert len(reason) < 200


_STEPS = (
    "To reset it, open the settings page.\n\nThere you finds a red button.\n\nThe link is valid for one day."
)
_STEPS_BETTER = _STEPS.replace("finds", "find")


@pytest.mark.parametrize("order", [(2, 0, 1), (0, 2, 1), (1, 2, 0)])
def test_a_paragraph_that_moved_is_an_edit(order: tuple[int, ...]):
    parts = _STEPS_BETTER.split("\n\n")
    assert find_wrapping(_STEPS, "\n\n".join(parts[i] for i in order)) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("“", ""),
        ("", "”"),
        ("", '"'),
        ("", "}"),
        ("", '"}'),
        ("$", "$"),
        ("＂", "＂"),
        ("✅ ", ""),
    ],
)
def test_a_mark_at_an_end_without_its_partner_is_not_an_edit(before: str, after: str):
    assert find_wrapping(_STEPS, before + _STEPS_BETTER + after) is not None


def test_a_single_mark_of_the_draft_and_a_smiley_are_not_a_wrapping():
    assert find_wrapping("a) the first of these are red", "a) the first of these is red") is None
    assert find_wrapping("The first are red.", "The first is red :)") is None
