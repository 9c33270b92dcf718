"""Half of the calls fail in every known way, and the results agree with the server's log."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from figa_core.llm.budget import Price
from figa_core.llm.calls import CallAnswered, CallOutcome, CallSent
from figa_core.llm.journal import AnswerJournal, read
from figa_core.ports import RevisionRequest
from figa_core.records import Message, Revision, RevisionStatus
from figa_core.revision.prompt import load_templates
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import TeacherFault, message_hash
from tests.figa_core.llm.runs import calls_in_flight, open_reviser

ROWS = 400
PRICE = Price(usd_per_million_prompt_tokens=1.0, usd_per_million_completion_tokens=1.0)
FAULTS = [fault for fault in TeacherFault if fault is not TeacherFault.QUOTA]  # that one ends the run
DRAFT = "Hello Ann, your lamp number {} will will arrive in Rome in three days, and I am happy to help."

# The server's last action → the row's end; after all others the row fails and may be retried.
ENDS = {
    "answered": {RevisionStatus.SUCCEEDED, RevisionStatus.UNCHANGED},
    "duplicate": {RevisionStatus.SUCCEEDED, RevisionStatus.UNCHANGED},
    "refusal": {RevisionStatus.REFUSED},
    "nonsense": {RevisionStatus.REJECTED, RevisionStatus.REFUSED},
    "length": {RevisionStatus.REJECTED},
}
KINDS = {
    "500": CallOutcome.SERVER_ERROR,
    "503": CallOutcome.SERVER_ERROR,
    "timeout": CallOutcome.TIMEOUT,
    "reset": CallOutcome.CONNECTION_LOST,
    "malformed_json": CallOutcome.MALFORMED,
    "empty_choices": CallOutcome.EMPTY_CHOICES,
}


SETTINGS = {
    "model": "sandbox-teacher",
    "max_concurrency": 32,
    "max_attempts": 3,
    "timeout_s": 1.0,
    "backoff_s": 0.01,
    "drain_s": 15.0,
    "asked_again_max": 0,
    "price": PRICE,
}


def _rows() -> list[RevisionRequest]:
    question = (Message("user", "Where is my lamp?"),)
    return [RevisionRequest(f"rev-{i}", f"res-{i}", question, DRAFT.format(i), None) for i in range(ROWS)]


async def test_every_row_ends_for_its_true_reason_and_calls_and_costs_agree_with_the_servers_log(
    tmp_path: Path,
) -> None:
    shares = dict.fromkeys(FAULTS, 0.5 / len(FAULTS))
    path = tmp_path / "journal.jsonl"
    with TeacherProcess(faults=shares, seed=11, hang_s=30) as teacher:
        rows = _rows()
        async with (
            AnswerJournal(path) as journal,
            open_reviser(teacher.base_url, journal, **SETTINGS) as reviser,
        ):
            ends = {revision.revision_id: revision async for revision in reviser.revise(rows)}
        log = [json.loads(line) for line in teacher.log.read_text().splitlines()]

    assert set(ends) == {row.revision_id for row in rows}
    records = [record for record, _ in read(path)]
    assert not calls_in_flight(records)
    seen = defaultdict(list)
    for line in log:
        seen[line["message_sha256"]].append(line)
    answers, sent = defaultdict(list), {}
    for record in records:
        if isinstance(record, CallAnswered):
            answers[record.subject_id].append(record)
        elif isinstance(record, CallSent):
            sent[record.call_id] = record
    assert {fault.value for fault in FAULTS} <= {line["outcome"] for line in log}
    for row in rows:
        question = load_templates().render(row.messages, row.response, row.reference)[-1]["content"]
        _check_row(ends[row.revision_id], answers[row.revision_id], seen[message_hash(question)], sent)


def _check_row(
    end: Revision, answers: list[CallAnswered], seen: list[dict[str, object]], sent: dict[str, CallSent]
) -> None:
    assert len(answers) == len(seen)
    limited = [line for line in seen if line["outcome"] == "429"]
    assert [a.outcome for a in answers].count(CallOutcome.RATE_LIMITED) == len(limited)
    assert end.attempts == len(seen) - len(limited)  # a 429 uses up none
    last = str(seen[-1]["outcome"])
    assert end.status in ENDS.get(last, {RevisionStatus.FAILED}), (end, seen)
    if end.status is RevisionStatus.FAILED:
        assert end.retryable
        assert KINDS[last] in (end.reason or "")
    for answer, line in zip(answers, seen, strict=True):
        if line["outcome"] in ("answered", "duplicate"):
            assert answer.cost_usd == pytest.approx(int(str(line["tokens"])) * 1e-6)
        elif line["outcome"] in ("timeout", "reset", "malformed_json"):
            # Their cost is unknown: the reservation is kept, and is at least the cost.
            assert answer.cost_usd is None
            assert (sent[answer.call_id].reserved_usd or 0.0) >= int(str(line["tokens"])) * 1e-6
