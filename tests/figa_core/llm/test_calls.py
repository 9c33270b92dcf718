"""The journal's records survive their way through JSON."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.llm.calls import (
    CallAnswered,
    CallOutcome,
    CallRecord,
    CallSent,
    RowSettled,
    calls_in_flight,
    decode,
    encode,
)
from figa_core.records import Revision, RevisionStatus

texts = st.text(st.characters(exclude_categories=["Cs"]))
counts = st.integers(0, 2**53)
times = st.floats(0, 1e12)
revisions = st.builds(
    Revision,
    texts,
    texts,
    st.sampled_from(RevisionStatus),
    st.none() | texts,
    st.none() | texts,
    st.booleans(),
    counts,
)
records = st.one_of(
    st.builds(CallSent, texts, texts, counts, times, counts),
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
        st.none() | revisions,
    ),
    st.builds(RowSettled, times, revisions),
)


@given(records)
def test_a_record_comes_back_equal_and_is_one_line(record: CallRecord):
    line = encode(record)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back = decode(line)
    assert back == record
    assert type(back) is type(record)


def test_enums_come_back_as_enums():
    revision = Revision("rev", "res", RevisionStatus.REFUSED)
    back = decode(
        encode(CallAnswered("c", "rev", "res", 1, 1.0, 1.0, CallOutcome.REFUSED, revision=revision))
    )
    assert isinstance(back, CallAnswered)
    assert back.outcome is CallOutcome.REFUSED
    assert back.revision is not None
    assert back.revision.status is RevisionStatus.REFUSED


def test_a_lone_surrogate_becomes_a_question_mark():
    revision = Revision("rev", "res", RevisionStatus.FAILED, reason="half \ud800")
    back = decode(encode(RowSettled(1.0, revision)))
    assert back == RowSettled(1.0, dataclasses.replace(revision, reason="half ?"))


@pytest.mark.parametrize("line", [b"", b"{}", b"1", b'{"kind": "sent", "extra": 1}', b'{"kind": ["sent"]}'])
def test_what_is_no_record_is_a_value_error(line: bytes):
    with pytest.raises(ValueError, match=r"."):
        decode(line)


def test_a_call_is_in_flight_from_sent_to_answered():
    sent = [CallSent(f"c{i}", f"r{i}", 1, 1.0, 5) for i in range(3)]
    answer = CallAnswered("c1", "r1", "x", 1, 2.0, 1.0, CallOutcome.TIMEOUT)
    assert calls_in_flight([*sent, answer]) == [sent[0], sent[2]]
