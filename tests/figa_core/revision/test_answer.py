"""The revision in an answer's text."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.revision.answer import read_answer
from figa_core.revision.prompt import TAGS, fence

DRAFT = 'Hello Ann,\n\nyour "blue" lamp will arrives in three days, and we are glad to help.'
FIXED = DRAFT.replace("arrives", "arrive")
JSON_DRAFT = '{"name": "Ann", "days": 2}'
JSON_FIXED = '{"name": "Ann", "days": 3}'
words = st.lists(
    st.sampled_from([*(f"<{s}{t}>" for t in TAGS for s in ("", "/", "\\", "\\\\/")), "\\", "<", "x"])
)


def as_asked(text: str) -> str:
    return json.dumps({"revised_response": text})


@given(words.map("".join) | st.text().filter(lambda text: "\ufeff" not in text))
def test_a_structured_answer_is_read_back_exactly(text: str):
    answer = read_answer(as_asked(fence(text)), text)
    assert (answer.text, answer.problem) == (text, None)


@pytest.mark.parametrize(
    "answer",
    [
        FIXED,
        as_asked(FIXED),
        as_asked(FIXED).replace("\\n", "\n"),
        as_asked(FIXED) + "\n\nI corrected the verb.",
        as_asked(FIXED) + "\n" + as_asked(FIXED),
        json.dumps({"revised_response": FIXED, "explanation": "verb", "sure": 0.9}),
        json.dumps({"explanation": "verb", "revised_response": FIXED}),
        json.dumps({"response": FIXED}),
        json.dumps({"revised_response": FIXED, "other": {"revised_response": FIXED}}),
        json.dumps({"revisedResponse": FIXED}),
        json.dumps({"Revised Response": FIXED}),
        json.dumps({"revision": FIXED, "comment": "I only corrected one verb here."}),
        json.dumps({"result": {"revised_response": FIXED}}),
        json.dumps([{"revised_response": FIXED}]),
        json.dumps([FIXED]),
        json.dumps(as_asked(FIXED)),
        f"```json\n{as_asked(FIXED)}\n```",
        f"```\n{as_asked(FIXED)}\n```",
        f"```json\n{as_asked(FIXED)}",
        f"```json\n{as_asked(FIXED)}\n```\n\nI corrected the verb.",
        f"Here is the JSON:\n{as_asked(FIXED)}",
        f"As {{this}} and {{}} say: {as_asked(FIXED)}",
        f"As {{this}} says: {json.dumps({'result': {'revised_response': FIXED}})}",
        f'{{"note": "verb"}} and {{this}} and {as_asked(FIXED)}',
        json.dumps({"text": FIXED}) + " and more",
        f"\ufeff{as_asked(FIXED)}",
        f"\ufeff{FIXED}",
        as_asked(FIXED)[:-1] + ",}",
        "{'revised_response': " + repr(FIXED) + "}",
        f"<think>As {{'this': 1}}?</think>\n{as_asked(FIXED)}",
        f"<think>As {as_asked('Hello.')}?</think>\n{as_asked(FIXED)}",
        f"[THINK]Few edits.[/THINK]{as_asked(FIXED)}",
        as_asked(f"\ufeff{FIXED}"),
        json.dumps({"original": DRAFT, "result": {"revised_response": FIXED}}),
        json.dumps([DRAFT, {"revised_response": FIXED}]),
        f"```json\n{json.dumps({'response': FIXED})}\n```",
        f"```\n{json.dumps({'response': FIXED})}",
        as_asked(f"<think>Few edits.</think>\n\n{FIXED}"),
    ],
)
def test_a_clear_revision_is_read(answer: str):
    read = read_answer(answer, DRAFT)
    assert (read.text.strip(), read.problem) == (FIXED, None)


@pytest.mark.parametrize(
    ("texts", "revision"),
    [
        (["a b c x y z", "1 2 3 4 5 6"], "a b c x y z"),  # half of the words are the draft's
        (["1 2 3 4 5 6", "a b c d e x", "7 8"], "a b c d e x"),
        (["a b x y z u", "1 2 3 4 5 6"], None),  # none is near the draft
        (["a b c d e x", "a b x y z u"], None),  # one is not far from it
        (["a b c d e x", "a 2 3 4"], None),  # nor is this: one word in five
        (["a b c d e x", "a 2 3 4 5"], "a b c d e x"),
        (["a b c d e x", "a b c d e y"], None),
        (["a b c d e f", "a b c d e f"], None),
    ],
)
def test_of_several_texts_without_the_fields_name_exactly_one_must_be_near_the_draft(
    texts: list[str], revision: str | None
):
    read = read_answer(json.dumps(dict(enumerate(texts))), "a b c d e f")
    assert (read.text, read.problem is None) == (revision or "", revision is not None)


def test_the_only_text_of_a_fenced_object_is_the_answer():
    for opening, closing in (("```json", "\n```"), ("```js", "\n```"), ("```", "```\n"), ("```json", "")):
        assert read_answer(f'{opening}\n{{"response": "red"}}{closing}', DRAFT).text == "red"


def test_a_text_in_single_quotes_is_read_with_the_quotes_in_it():
    text = 'It\'s a "blue" lamp.\nIt is here.'
    escaped = text.replace("'", "\\'").replace("\n", "\\n")
    assert read_answer(f"{{'revised_response': '{escaped}'}}", "It's a lamp.").text == text


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (as_asked(FIXED)[:-8], "ends too early"),
        ('{"revised_response":', "ends too early"),
        ("{", "ends too early"),
        ('{"revised_response": "He said "hi" to me."}', "cannot be read"),
        ("{revised_response: red}", "cannot be read"),
        ('{"revised_response" = "red"}', "cannot be read"),
        ('{"revised_response": 3}', "without the field"),
        ('{"revised_response": null}', "without the field"),
        ('{"revised_response": ["a", "b"]}', "without the field"),
        ('{"a": 1}', "without the field"),
        ("{}", "without the field"),
        ('{"x": "y"} and more', "without the field"),
        (json.dumps({"original": DRAFT, "revised": FIXED}), "without the field"),
        (json.dumps({"revised_response": FIXED.split("\n")}), "without the field"),  # one line of it is near
        (as_asked(FIXED) + as_asked(FIXED + " And more."), "more than once"),
        (f'{{"revised_response": {json.dumps(FIXED)}, "revised_response": "red"}}', "more than once"),
        ('{"type": "object", "properties": {"revised_response": {"type": "string"}}}', "without the field"),
        (f"revised_response: {FIXED}", "no JSON object"),
        (f"<revised_response>{FIXED}</revised_response>", "no JSON object"),
        ("<think>hm", "thoughts"),
        (as_asked("<think>hm"), "thoughts"),
    ],
)
def test_an_ambiguous_answer_that_begins_like_the_schema_is_a_problem(answer: str, problem: str):
    read = read_answer(answer, DRAFT)
    assert read.text == ""
    assert problem in str(read.problem)


@pytest.mark.parametrize("answer", [as_asked(FIXED)[:cut] for cut in range(1, len(as_asked(FIXED)) - 1)])
def test_cut_json_is_recognised(answer: str):
    read = read_answer(answer, DRAFT)
    assert (read.text, read.cut) == ("", True)


@pytest.mark.parametrize(
    "text",
    [
        *("{ no JSON }", "[1] Smith et al. say so.", "[sic] is Latin", "{x} is a set", "[1, 2]"),
        *('["a"] is a list.', '"{}" is the empty set.', '"{x}" is a set'),
    ],
)
def test_plain_text_that_begins_with_a_bracket_is_plain_text(text: str):
    assert read_answer(text, DRAFT).text == text


def test_json_is_the_revision_of_a_json_draft():
    assert read_answer(JSON_FIXED, JSON_DRAFT).text == JSON_FIXED
    assert read_answer(as_asked(JSON_FIXED), JSON_DRAFT).text == JSON_FIXED
    assert read_answer(json.dumps({"json": JSON_FIXED}), JSON_DRAFT).text == JSON_FIXED
    assert read_answer(f"```json\n{as_asked(JSON_FIXED)}\n```", JSON_DRAFT).text == JSON_FIXED
    assert read_answer('["a", "c"]', '["a", "b"]').text == '["a", "c"]'


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps({"json": JSON_FIXED, "note": "days"}),
        '{"x": "{}"}',  # the text in it is no nearer to the draft
        '{"x": "Ann"}',
        "{name: Ann}",
        "{}",
        "[3]",
    ],
)
def test_other_json_is_the_answer_unchanged_if_the_draft_is_json(answer: str):
    assert read_answer(answer, JSON_DRAFT) == (answer, None, False)


def test_thoughts_and_invisible_marks_of_the_draft_or_the_reference_stay():
    own = "<think>Two plus two.</think> It is four."
    for known in ((own, None), (DRAFT, own)):
        for answer in (own, as_asked(own)):
            assert read_answer(answer, *known) == (own, None, False)
    assert read_answer(as_asked("\ufeffHello."), "\ufeffHallo.").text == "\ufeffHello."


def test_an_object_instead_of_its_text_is_a_problem_if_the_draft_is_json():
    assert "without the field" in str(
        read_answer(f'{{"revised_response": {JSON_FIXED}}}', JSON_DRAFT).problem
    )
    assert "ends too early" in str(read_answer(as_asked(JSON_FIXED)[:-5], JSON_DRAFT).problem)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["revised_response", "a"]), inner),
    )
)
def test_any_json_can_be_read(value: object):
    read_answer(json.dumps(value), DRAFT)
    read_answer(json.dumps(value), JSON_DRAFT)


def test_json_of_any_depth_can_be_read():
    assert read_answer("[" * 100_000, DRAFT).text
    assert read_answer('{"a":' * 100_000, DRAFT).problem
    for depth in range(sys.getrecursionlimit()):
        read_answer(f'{"[" * depth}"x"{"]" * depth}', DRAFT)
