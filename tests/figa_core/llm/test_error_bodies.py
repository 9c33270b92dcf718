"""The message, words, codes and field in the body of an error."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from figa_core.llm.error_bodies import ErrorBody, read_error_body

DEEPEST = 8  # levels of a body that are read
LONG = "x" * 60

Nest = Callable[[Any], Any]


def read(body: Any) -> ErrorBody:
    return read_error_body(body if isinstance(body, bytes) else json.dumps(body).encode())


def message(body: Any) -> str:
    return read(body).message


def codes(body: Any) -> frozenset[str]:
    return read(body).codes


def nested(nest: Nest, times: int, inside: Any) -> Any:
    for _ in range(times):
        inside = nest(inside)
    return inside


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ErrorBody()),
        (b" \n plain words \n", ErrorBody("plain words", "plain words")),
        (b"busy \xff", ErrorBody("busy \ufffd", "busy \ufffd")),
        (b"<p>no page", ErrorBody("<p>no page", "<p>no page")),
        (
            {"error": {"message": "why", "type": "Bad_Type", "param": "temperature", "code": 7}},
            ErrorBody("why", "why\nBad_Type\ntemperature\n7", frozenset({"bad_type", "7"}), "temperature"),
        ),
        (
            {"message": "why", "details": [{"retryDelay": "7.5s"}]},
            ErrorBody("why", "why\n7.5s", retry_s=7.5),
        ),
        ({"code": True}, ErrorBody('{"code": true}', '{"code": true}')),
        ({"code": None}, ErrorBody('{"code": null}', '{"code": null}')),
        ({"s": 0.5, "code": 1.5}, ErrorBody('{"s": 0.5, "code": 1.5}', "0.5\n1.5", frozenset({"1.5"}))),
    ],
)
def test_message_words_codes_and_field_of_a_body_are_read(body: Any, expected: ErrorBody):
    assert read(body) == expected


@pytest.mark.parametrize(
    "name", ["error", "code", "type", "status", "reason", "error_type", "error_code", "__type", "status_code"]
)
def test_a_code_is_recognised_by_its_name_alone_in_a_list_or_in_quoted_json(name: str):
    assert codes({name: "A"}) == codes({name: ["A"]}) == codes({"x": {name: "A"}}) == {"a"}
    assert codes({name: '["A", 7]'}) == codes([{name: ["A", 7]}]) == {"a", "7"}
    assert codes({name: {"other": "A"}}) == codes({"other": "A"}) == frozenset()


def test_a_sentence_under_the_name_of_a_code_is_not_a_code():
    assert codes({"error": "x" * 79}) == {"x" * 79}
    assert codes({"error": "x" * 80}) == frozenset()


@pytest.mark.parametrize(
    "name", ["input", "flagged_input", "messages", "prompt", "request", "body", "headers", "example"]
)
def test_quotations_of_the_request_are_ignored(name: str):
    error = read({name: "My credit card", "deep": [{name: {"code": "A", "loc": ["x"]}}], "reason": "why"})
    assert (error.words, error.codes, error.parameter) == ("why", {"why"}, None)


@pytest.mark.parametrize("quote", ['"{}"', "'{}'", "`{}`"])
def test_a_long_quotation_is_left_out_of_the_words_but_not_of_the_message(quote: str):
    long, short = quote.format(LONG), quote.format(LONG[1:])
    for body in (f"of {long} and {short}", {"message": f"of {long} and {short}"}):
        error = read(body.encode() if isinstance(body, str) else body)
        assert (error.message, error.words) == (f"of {long} and {short}", f"of … and {short}")


def test_an_apostrophe_begins_no_quotation():
    text = f"it isn't {LONG} isn't"
    assert read(text.encode()).words == text


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"error": {"detail": "why"}, "message": "other"}, "why"),
        ({"error": [{"detail": "why"}], "message": "other"}, "why"),
        ({"error": {}, "message": "why"}, "why"),
        ({"error": "code", "message": "why"}, "why"),
        ({"error": "why", "status": 400}, "why"),
        ({"detail": "other", "msg": "more", "message": "why"}, "why"),
        ({"message": {"x": 1}, "detail": "why"}, "why"),
        ({"message": " why \n"}, "why"),
        ({"errors": [{"message": "why"}], "base": {"message": "other"}}, "why"),
        ({"errors": "why"}, "why"),
        ({"status": 1, "a": {"code": 2}, "b": {"message": "why"}, "c": {"message": "other"}}, "why"),
        (["a", "", {"code": 1}, "b"], "a"),
        (["a", "b", "c", "d"], "a; b; c"),
        ({"message": ' {"error": {"message": "why"}}'}, "why"),
        ({"message": "[why]"}, "[why]"),
        ({"message": '{"code": 1}'}, '{"code": 1}'),
        ({"detail": [{"loc": ["body", "x", 0], "msg": "why"}]}, "why (body.x.0)"),
        ({"msg": "why", "loc": "body"}, "why"),
        ({"msg": "why", "loc": []}, "why"),
        ({"message": "said", "metadata": {"raw": '{"message": "why"}'}}, "said (why)"),
        ({"message": "said", "metadata": {"raw": {"message": "why"}}}, "said (why)"),
        ({"message": "said", "metadata": {"raw": "said"}}, "said"),
        ({"message": "said", "metadata": {"raw": ""}}, "said"),
        ({"message": "said", "metadata": {}}, "said"),
        ({"message": "said", "metadata": "raw"}, "said"),
        ({"message": "said", "metadata": {"raw": "why"}, "loc": ["a", "b"]}, "said (why) (a.b)"),
    ],
)
def test_the_message_is_found_in_every_shape(body: Any, sentence: str):
    assert message(body) == sentence


@pytest.mark.parametrize(
    "name",
    [
        "message",
        "Message",
        "detail",
        "msg",
        "error_msg",
        "status_msg",
        "error_description",
        "faultstring",
        "description",
        "title",
        "error",
    ],
)
def test_the_message_is_found_under_each_of_its_names(name: str):
    assert message({"id": "x", name: "why"}) == "why"


NESTS: dict[str, Nest] = {
    "an object's error": lambda x: {"error": x},
    "an object's message": lambda x: {"message": x},
    "a list": lambda x: [x],
    "errors": lambda x: {"errors": x},
}


@pytest.mark.parametrize("nest", NESTS)
def test_a_message_is_found_down_to_the_depth_that_is_read(nest: str):
    assert message(nested(NESTS[nest], DEEPEST, "why")) == "why"
    too_deep = nested(NESTS[nest], DEEPEST + 1, "why")
    assert message(too_deep) == json.dumps(too_deep)


def test_the_content_of_the_error_comes_first_at_any_depth():
    inside = nested(NESTS["a list"], DEEPEST - 1, "why")
    assert message({"error": inside, "message": "other"}) == "why"


def test_a_text_that_quotes_a_body_is_opened_to_the_same_depth():
    assert message(nested(lambda x: json.dumps([x]), DEEPEST // 2, "why")) == "why"
    assert message(nested(lambda x: json.dumps([x]), DEEPEST // 2 + 1, "why")) == '["why"]'


def test_the_message_of_a_provider_behind_proxies_is_found_to_the_same_depth():
    def behind(body: Any) -> Any:
        return {"message": "said", "metadata": {"raw": body}}

    assert message(nested(behind, DEEPEST, "why")) == " (".join(["said"] * DEEPEST) + " (why" + ")" * DEEPEST
    assert "why" not in message(nested(behind, DEEPEST + 1, "why"))


def test_a_message_in_an_objects_first_object_is_found_to_the_same_depth():
    inside = {"message": "why"}
    assert message(nested(lambda x: {"base": x}, DEEPEST - 1, inside)) == "why"
    too_deep = nested(lambda x: {"base": x}, DEEPEST, inside)
    assert message(too_deep) == json.dumps(too_deep)


@pytest.mark.parametrize(
    ("nest", "levels"), [(lambda x: {"a": x}, 1), (lambda x: [x], 1), (lambda x: json.dumps({"a": x}), 2)]
)
def test_codes_words_and_field_are_found_to_the_same_depth(nest: Nest, levels: int):
    times = DEEPEST // levels
    code, parameter = {"code": "A"}, {"param": "stream"}
    found = nested(nest, times - 1, code), nested(nest, times, code)
    assert [codes(body) for body in found] == [{"a"}, frozenset()]
    assert [read(body).words for body in found] == ["A", json.dumps(found[1])]
    assert read(nested(nest, times, parameter)).parameter == "stream"
    assert read(nested(nest, times + 1, parameter)).parameter is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"param": "temperature"}, "temperature"),
        ({"param": "messages.0.content"}, "messages"),
        ({"param": "messages[0].content"}, "messages"),
        ({"param": "body.stream"}, "stream"),
        ({"param": "", "loc": ["body", "stream"]}, "stream"),
        ({"param": 7, "x": {"param": "stream"}}, "stream"),
        ({"loc": ["query", "request", "stream", "more"]}, "stream"),
        ({"loc": ["body"]}, None),
        ({"loc": [0]}, "0"),
        ({"loc": "body"}, None),
        ([{"loc": ["body"]}, {"loc": ["body", "stream"]}], "stream"),
        ({"a": {"loc": ["body"]}, "b": {"loc": ["stream"]}}, "stream"),
        ({"message": "[{'type': 'missing', 'loc': ('body', 'stream'), 'msg': 'x'}]"}, "stream"),
        ({"a": "none", "message": "'loc': ['body', 'stream', 0]"}, "stream"),
        (b"[{'type': 'missing', 'loc': ('body', 'stream'), 'msg': 'x'}]", "stream"),
        (b"'loc': ('body',)", None),
        ({"message": "stream"}, None),
    ],
)
def test_the_field_is_found_where_it_is_named_as_such(body: Any, field: str | None):
    assert read(body).parameter == field


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("12s", 12), ("0.25s", 0.25), ("12", None), ("1m", None), ("12s.", None), (12, None)],
)
def test_a_wait_is_read_if_it_is_in_seconds(delay: Any, seconds: float | None):
    assert read({"x": "9s", "details": [{"retryDelay": delay}]}).retry_s == seconds


@pytest.mark.parametrize("start", ["<!DOCTYPE html>", "<html lang='en'>", "<HEAD>", "<center>", "<h1>"])
def test_a_page_is_recognised_by_its_start_and_shown_as_text(start: str):
    shown = "a page of HTML: Bad & busy gateway"
    assert message(f"\n{start}<b>Bad &amp;</b>\n busy gateway".encode()) == shown


def test_the_title_or_heading_of_a_page_is_shown_up_to_a_length():
    page = "<html>words <{0} class='x'>Bad\n<i>gateway</i></{0}> and more words"
    for name in ("title", "H1"):
        assert message(page.format(name).encode()) == "a page of HTML: Bad gateway"
    assert message(f"<html><title>{'x' * 300}</title>".encode()) == f"a page of HTML: {'x' * 200}"
    before = "<html>" + "<br>" * 498
    assert len(before) == 1998
    assert message(f"{before}abc".encode()) == "a page of HTML: ab"  # the first 2000 characters are read
