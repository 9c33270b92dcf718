import json
import random
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.domains.structured import BARE_WEIGHT, BROKEN_CREDIT, DOMAIN, correct, rows, verify
from figa_core.domains.structured_world import draw_task, write_reference
from figa_core.records import Message
from figa_core.revision.answer import read_answer
from figa_core.revision.words import edit_share
from tests.figa_core.domains.corruption import broken

TASK = draw_task(262_144)
MESSAGES = TASK.messages
REFERENCE = write_reference(TASK.answer)
FIELDS = 4
"""The fields of `TASK`, which is short."""


def written(**changed: object) -> str:
    return json.dumps({**TASK.answer, **changed})


def test_the_task_of_these_tests_is_short():
    assert TASK.kind == "short"
    assert len(TASK.answer) == FIELDS


@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"indent": 4, "sort_keys": True}])
def test_a_right_object_scores_one_in_any_layout_and_comes_back_as_it_was(layout, messages_of):
    for row in rows(40, 0):
        for answer in (row["reference"], json.dumps(json.loads(row["reference"]), **layout)):
            assert verify(messages_of(row), answer) == 1
            assert correct(messages_of(row), answer, row["reference"]) == answer


@given(number=st.integers(100_000, 999_999), seed=st.integers(0, 2**32), edits=st.integers(1, 4))
def test_a_corrected_draft_is_right_and_correcting_it_again_changes_nothing(number, seed, edits):
    task, rng = draw_task(number), random.Random(seed)
    draft = broken(json.dumps(task.answer, indent=rng.choice((None, 2))), rng, edits)
    corrected = correct(task.messages, draft, None)
    if corrected is None:
        return
    assert verify(task.messages, corrected) == 1
    assert correct(task.messages, corrected, None) == corrected


def test_corrections_are_few_edits_that_the_revise_stage_reads_as_they_are(messages_of):
    declined = 0
    shares = []
    for index, row in enumerate(rows(100, 3)):
        draft = broken(json.dumps(json.loads(row["reference"])), random.Random(index), 2)
        corrected = correct(messages_of(row), draft, row["reference"])
        if corrected is None:
            declined += 1
            continue
        answer = read_answer(json.dumps({"revised_response": corrected}), draft, row["reference"])
        assert (answer.text, answer.problem) == (corrected, None)
        shares.append(edit_share(draft, corrected))
    assert declined <= 3
    assert sum(shares) / len(shares) < 0.25


def test_only_the_wrong_value_is_edited():
    wrong = "pink"
    assert correct(MESSAGES, written(colour=wrong), None) == written()


def test_text_around_the_object_and_a_field_too_many_are_removed():
    draft = f"Here is the JSON:\n```json\n{written(total=12)}\n```"
    assert correct(MESSAGES, draft, REFERENCE) == written()


def test_a_missing_field_is_added():
    without = {name: value for name, value in TASK.answer.items() if name != "city"}
    assert correct(MESSAGES, json.dumps(without), REFERENCE) == written()


def test_the_layout_of_the_draft_stays():
    draft = json.dumps({**TASK.answer, "quantity": "many"}, indent=3)
    assert correct(MESSAGES, draft, None) == json.dumps(TASK.answer, indent=3)


def test_prose_that_says_nothing_of_the_order_is_not_edited_into_an_object():
    draft = "I am sorry, but I do not know what you would like to have from us today, so please say more."
    assert correct(MESSAGES, draft, None) is None


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (written(colour="pink"), (FIELDS - 1) / FIELDS),
        (written(quantity=str(TASK.answer["quantity"])), (FIELDS - 0.5) / FIELDS),
        (written(quantity=float(TASK.answer["quantity"])), 1),
        (written(quantity=True), (FIELDS - 1) / FIELDS),
        (written(quantity=[TASK.answer["quantity"]]), (FIELDS - 1) / (FIELDS + 1)),
        (written(total=3), FIELDS / (FIELDS + 1)),
        (written(total={"a": 1, "b": [2, 3]}), FIELDS / (FIELDS + 3)),
        (written(colour=[TASK.answer["colour"]]), (FIELDS - 1) / (FIELDS + 1)),
        (written()[:-1] + ', "city": "Rome"}', FIELDS / (FIELDS + 1)),
    ],
)
def test_each_field_counts_alike_and_one_too_many_counts_as_wrong(text, share):
    assert verify(MESSAGES, text) == pytest.approx(BARE_WEIGHT + (1 - BARE_WEIGHT) * share)


def test_text_around_the_object_costs_a_tenth():
    assert verify(MESSAGES, f"```json\n{written()}\n```") == pytest.approx(1 - BARE_WEIGHT)
    assert verify(MESSAGES, f"{written()} {written()}") == pytest.approx(1 - BARE_WEIGHT)


@pytest.mark.parametrize(
    ("text", "right", "fields"),
    [
        (written()[:-1], FIELDS, FIELDS),
        (written().replace(",", ",,"), FIELDS, FIELDS),
        (written(colour="pink")[:-1], FIELDS - 1, FIELDS),
        (written()[: written().index(", ")], 1, FIELDS),
        (written()[:-1] + ', "a": 1' * 6, FIELDS, FIELDS + 6),
        (written()[1:-1] + ', "city": "Rome"', FIELDS, FIELDS + 1),
    ],
)
def test_the_fields_of_a_broken_object_count_half(text, right, fields):
    assert verify(MESSAGES, text) == pytest.approx(BROKEN_CREDIT * right / fields)


def test_of_several_objects_the_first_counts():
    assert verify(MESSAGES, f'{{"a": 1}} {written()}') == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "K-262144",
        "{" * 10_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        "[" * 100_000,
        '{"ref": NaN}',
        f'{{"quantity": {"9" * 10_000}}}',
        '{"quantity": 1e999}',
        '"item" "clock" "Lyon" 24',
        "\ud800",
    ],
)
def test_hostile_and_empty_answers_score_nothing(text):
    assert verify(MESSAGES, text) == 0


@pytest.mark.parametrize("draft", ["", " ", "{", "{}", "[1, 2", '"', "\\", "\ud800{", "{" * 3000, "null"])
def test_any_draft_is_corrected_or_declined(draft):
    corrected = correct(MESSAGES, draft, None)
    assert corrected is None or verify(MESSAGES, corrected) == 1


def test_a_field_in_words_that_python_reads_and_json_does_not_is_no_field():
    assert verify(MESSAGES, '{"quantity": 024, "quantity": NaN, "item": "\\x"') == 0


def test_a_system_message_changes_nothing():
    assert verify((Message("system", "Be brief."), *MESSAGES), written()) == 1


def test_a_prompt_of_another_domain_or_version_is_an_error():
    with pytest.raises(ValueError, match="no prompt of the domain"):
        verify((Message("user", "What is 2 + 2?"),), "4")
    with pytest.raises(ValueError, match="another version"):
        verify((*MESSAGES[:-1], Message("user", MESSAGES[-1].content.replace("144:", "145:"))), "{}")
    with pytest.raises(ValueError, match="another version"):
        verify(MESSAGES[-1:], "{}")


def test_rows_are_different_prompts_of_all_types_alike():
    drawn = list(rows(400, 5))
    assert len({row["prompt"][-1]["content"] for row in drawn}) == 400
    counts = Counter(row["type"] for row in drawn)
    assert set(counts) == set(DOMAIN.types)
    assert min(counts.values()) > 60


def test_equal_seeds_give_equal_rows_and_other_seeds_others():
    assert list(rows(5, 1)) == list(islice(rows(50, 1), 5))
    assert list(rows(5, 1)) != list(rows(5, 2))
