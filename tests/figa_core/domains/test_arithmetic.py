import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.domains.arithmetic import (
    ANSWER_WEIGHT,
    DOMAIN,
    FORM_WEIGHT,
    HALF_RIGHT,
    STEPS_WEIGHT,
    correct,
    rows,
    verify,
)
from figa_core.domains.arithmetic_world import draw_problem, write_reference
from figa_core.records import Message
from figa_core.revision.words import edit_share
from tests.figa_core.domains.corruption import broken

PROBLEM = draw_problem(100_033)
MESSAGES = PROBLEM.messages
RIGHT = "Step 1: 2 x 8 = 16\nStep 2: 16 + 24 = 40\nAnswer: 40"


def test_the_problem_of_these_tests_is_a_product_and_a_sum():
    assert (PROBLEM.kind, PROBLEM.answer) == ("product", 40)
    assert verify(MESSAGES, RIGHT) == 1


def test_references_score_one_and_come_back_as_they_were(messages_of):
    for row in rows(200, 0):
        assert verify(messages_of(row), row["reference"]) == 1
        assert correct(messages_of(row), row["reference"], None) == row["reference"]


def test_every_step_has_a_whole_and_positive_result():
    for number in range(100_000, 100_500):
        problem = draw_problem(number)
        before = None
        for step in problem.steps:
            value = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
            assert value[step.sign](step.left, step.right) == step.result > 0
            assert step.sign != "/" or step.left % step.right == 0
            assert before in (None, step.left)
            before = step.result


@given(number=st.integers(100_000, 999_999), seed=st.integers(0, 2**32), edits=st.integers(1, 4))
def test_a_corrected_draft_is_right_and_correcting_it_again_changes_nothing(number, seed, edits):
    problem = draw_problem(number)
    messages = problem.messages
    corrected = correct(messages, broken(write_reference(problem), random.Random(seed), edits), None)
    if corrected is None:
        return
    assert verify(messages, corrected) == 1
    assert correct(messages, corrected, None) == corrected


def test_corrections_are_few_edits(messages_of):
    declined, shares = 0, []
    for index, row in enumerate(rows(100, 3)):
        draft = broken(row["reference"], random.Random(index), 2)
        corrected = correct(messages_of(row), draft, row["reference"])
        declined += corrected is None
        shares.append(edit_share(draft, corrected or draft))
    assert declined <= 3
    assert sum(shares) / len(shares) < 0.15


@pytest.mark.parametrize(
    ("draft", "corrected"),
    [
        (RIGHT.replace("= 16\n", "= 17\n"), RIGHT),
        (RIGHT.replace("+ 24", "- 24"), RIGHT),
        (RIGHT.replace("Step 2", "Step 3"), RIGHT),
        (RIGHT.replace("Answer: 40", "Answer: 41"), RIGHT),
        (RIGHT.replace("\nAnswer: 40", ""), RIGHT),
        (f"{RIGHT}\nThat is all.", RIGHT),
        ("Step 1: there are 8 × 2 = 17 nuts\nStep 2: 17 + 24 = 41 nuts\nThe answer is 41 nuts.",
         "Step 1: there are 8 × 2 = 16 nuts\nStep 2: 16 + 24 = 40 nuts\nThe answer is 40 nuts."),
        (RIGHT.replace("2 x 8 =", "2 x 8 = 2 x 8 =").replace("= 16\n", "= 15\n"),
         RIGHT.replace("2 x 8 =", "2 x 8 = 2 x 8 =")),
        ("First 2 * 8 = 16 and 16 + 24 = 30.\nAnswer: 30",
         "Step 1: First 2 * 8 = 16 and .\nStep 2: 16 + 24 = 40\nAnswer: 40"),
    ],
)  # fmt: skip
def test_only_what_is_wrong_is_edited(draft, corrected):
    assert correct(MESSAGES, draft, write_reference(PROBLEM)) == corrected


def test_prose_without_an_equation_is_not_edited_into_a_solution():
    draft = "To solve this we have to think about how many there are and then add some more of them to it."
    assert correct(MESSAGES, draft, None) is None


@pytest.mark.parametrize(
    ("text", "steps", "answer", "form"),
    [
        (RIGHT.replace("= 16", "= 17"), (HALF_RIGHT + 1) / 2, 1, 1),
        (RIGHT.replace("16", "17").replace("40", "41"), (HALF_RIGHT + HALF_RIGHT) / 2, 0, 1),
        (RIGHT.replace("Answer: 40", "Answer: 4"), 1, 0, 1),
        (RIGHT.replace("Step 2", "Step 1"), 1, 1, 0),
        (RIGHT.replace("Answer", "Step 3: 1 + 1 = 2\nAnswer"), 2 / 3, 1, 1),
        (f"{RIGHT}\nAnswer: 41", 1, 0, 0),
        (f"Answer: 40\n{RIGHT}", 1, 1, 0),
        ("40", 0, 0, 0),
        ("Answer: 40", 0, 1, 1),
        ("Step 1: 2 + 8 = 16\nAnswer: 1", 0, 0, 0),
        (RIGHT.replace("24 = 40", "24 = 40.5"), 0.5, 1, 0),
        (RIGHT.replace("2 x 8 = 16", "2 x 8 = 2 x 8 = 16"), 1, 1, 1),
        (RIGHT.replace("2 x 8 = 16", "2 x 8 = 16 x 1 = 17"), 0.5, 1, 1),
        (RIGHT.replace("Answer: 40", "Answer: 40,000"), 1, 0, 1),
        (RIGHT.replace("\n", "\n\n") + "\n", 1, 1, 1),
    ],
)
def test_steps_answer_and_form_are_scored(text, steps, answer, form):
    expected = STEPS_WEIGHT * steps + ANSWER_WEIGHT * answer + FORM_WEIGHT * form
    assert verify(MESSAGES, text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "Step 1:", "Answer:", "=" * 9999, f"Answer: {'9' * 9999}", "1+1=" * 5000, "\ud800", "²+²=4"],
)
def test_hostile_and_empty_answers_score_nothing_and_can_be_corrected_or_not(text):
    assert verify(MESSAGES, text) == 0
    corrected = correct(MESSAGES, text, None)
    assert corrected is None or verify(MESSAGES, corrected) == 1


def test_listing_every_answer_does_not_help():
    assert verify(MESSAGES, "\n".join(f"Answer: {number}" for number in range(100))) == 0


def test_a_prompt_of_another_domain_or_version_is_an_error():
    with pytest.raises(ValueError, match="no prompt of the domain"):
        verify((Message("user", "What is 2 + 2?"),), "4")
    with pytest.raises(ValueError, match="another version"):
        verify((Message("user", MESSAGES[-1].content.replace("100033", "100034")),), "4")


def test_rows_are_different_prompts_of_all_types_alike():
    drawn = list(rows(400, 5))
    assert len({row["prompt"][-1]["content"] for row in drawn}) == 400
    counts = Counter(row["type"] for row in drawn)
    assert set(counts) == set(DOMAIN.types)
    assert min(counts.values()) > 60
