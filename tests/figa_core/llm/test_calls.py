"""The journal's records survive JSON."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.llm.calls import (
    CallAnswered,
    CallOutcome,
    CallRecord,
    CallSent,
    RowSettled,
    decode,
    encode,
)
from figa_core.records import Revision, RevisionStatus

texts = st.text(st.characters(exclude_categories=["Cs"]))
counts = st.integers(0, 2**53)
times = st.floats(0, 1e12)
values = st.dictionaries(texts, st.none() | texts | counts | st.booleans())
records = st.one_of(
    st.builds(CallSent, texts, texts, texts, counts, times, counts),
    st.builds(
        CallAnswered,
        texts,
        texts,
        texts,
        counts,
        times,
        times,
        st.sampled_from(CallOutcome),
        st.none() | texts,
        st.none() | counts,
        st.none() | counts,
        st.none() | values,
    ),
    st.builds(RowSettled, times, texts, texts, values),
)


@given(records)
def test_a_record_comes_back_equal_and_is_one_line(record: CallRecord):
    line = encode(record)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back = decode(line)
    assert back == record
    assert type(back) is type(record)


def test_a_value_is_written_as_its_fields():
    revision = Revision("rev", "res", RevisionStatus.REFUSED, reason="no", attempts=2)
    back = decode(encode(CallAnswered("c", "p", "rev", 1, 1.0, 1.0, CallOutcome.REFUSED, value=revision)))
    assert isinstance(back, CallAnswered)
    assert back.outcome is CallOutcome.REFUSED
    assert back.value["status"] == "refused"
    assert Revision.of(back.value) == revision


def test_a_lone_surrogate_becomes_a_question_mark():
    revision = Revision("rev", "res", RevisionStatus.FAILED, reason="half \ud800")
    back = decode(encode(RowSettled(1.0, "p", "rev", revision)))
    assert isinstance(back, RowSettled)
    assert Revision.of(back.value) == dataclasses.replace(revision, reason="half ?")
    listed = decode(encode(RowSettled(1.0, "p", "s", {"words": ["half \ud800", 3]})))
    assert listed == RowSettled(1.0, "p", "s", {"words": ["half ?", 3]})


REVISION = {"revision_id": "r", "response_id": "x", "status": "succeeded", "text": "t", "reason": None}


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (
            {"kind": "sent", "call_id": "c", "revision_id": "r", "attempt": 1, "sent_at": 1.5,
             "estimated_tokens": 9, "reserved_usd": None},
            CallSent("c", "revision", "r", 1, 1.5, 9),
        ),
        (
            {"kind": "answered", "call_id": "c", "revision_id": "r", "response_id": "x", "attempt": 2,
             "answered_at": 2.5, "latency_s": 1.0, "outcome": "answered", "message": None, "prompt_tokens": 3,
             "completion_tokens": 4, "revision": REVISION, "cost_usd": 0.5, "draft": "abc"},
            CallAnswered(
                "c", "revision", "r", 2, 2.5, 1.0, CallOutcome.ANSWERED, None, 3, 4, REVISION, 0.5, "abc"
            ),
        ),
        (
            {"kind": "answered", "call_id": "c", "revision_id": "r", "response_id": "x", "attempt": 2,
             "answered_at": 2.5, "latency_s": 1.0, "outcome": "timeout", "revision": None},
            CallAnswered("c", "revision", "r", 2, 2.5, 1.0, CallOutcome.TIMEOUT),
        ),
        (
            {"kind": "settled", "settled_at": 3.5, "revision": REVISION},
            RowSettled(3.5, "revision", "r", REVISION),
        ),
    ],
)  # fmt: skip
def test_a_line_of_a_version_that_asked_for_revisions_only_can_be_read(
    line: dict[str, Any], record: CallRecord
):
    assert decode(json.dumps(line).encode()) == record


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"1",
        b'{"kind": "sent", "extra": 1}',
        b'{"kind": ["sent"]}',
        b'{"kind": "settled", "settled_at": 1.0, "purpose": "p", "subject_id": "s"}',
        b'{"kind": "settled", "settled_at": 1.0, "purpose": "p", "subject_id": "s", "value": 7}',
        b'{"kind": "answered", "call_id": "c", "purpose": "p", "subject_id": "s", "attempt": 1, '
        b'"answered_at": 1.0, "latency_s": 1.0, "outcome": "timeout", "value": 7}',
    ],
)
def test_a_line_that_is_not_a_record_raises_a_value_error(line: bytes):
    with pytest.raises(ValueError, match=r"."):
        decode(line)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("message", 5),
        ("prompt_tokens", "7"),
        ("completion_tokens", 7.5),
        ("cost_usd", "0.5"),
        ("mark", 5),
        ("value", 7),
        ("attempt", None),
    ],
)
def test_a_field_of_a_wrong_type_is_named(field: str, wrong: Any):
    answered = CallAnswered("c", "p", "s", 1, 1.0, 1.0, CallOutcome.ANSWERED, "m", 7, 8, {}, 0, "mark")
    assert decode(encode(answered)) == answered
    with pytest.raises(ValueError, match=f"field '{field}' is missing or not of type"):
        decode(encode(dataclasses.replace(answered, **{field: wrong})))
