"""Another kind of question, added from outside: a grader with its own reader, table and transport."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import BudgetReachedError, StorageError
from figa_core.llm.asker import Asker
from figa_core.llm.budget import Budget, Price
from figa_core.llm.calls import CallAnswered, CallOutcome, CallSent, RowSettled
from figa_core.llm.journal import AnswerJournal, read
from figa_core.llm.question import (
    AskAgain,
    ChatMessages,
    Cut,
    Decoding,
    Ending,
    NoAnswer,
    Question,
    Settled,
    Unaskable,
    Verdict,
)
from figa_core.llm.reply import Reply
from figa_core.llm.settings import AskerSettings
from figa_core.storage.database import Database
from figa_core.storage.intake import Intake, take_in
from figa_core.storage.values import VALUE_TABLES, ValueTable
from tests.figa_core.llm.runs import calls_in_flight

PRICE = Price(usd_per_million_prompt_tokens=1.0, usd_per_million_completion_tokens=1.0)


@dataclass(frozen=True)
class Grade:
    """The grade of a text; None without an answer."""

    grade: int | None
    why: str | None = None


class GradeReader:
    """Reads "grade: N"."""

    def read(self, reply: Reply, *, attempt: int, max_tokens: int) -> Verdict[Grade]:
        found = re.search(r"grade: (\d+)", reply.text or "")
        if found:
            return Settled(Grade(int(found.group(1))))
        if reply.outcome is CallOutcome.CUT_BY_LENGTH:
            return Cut(Grade(None, "cut"))
        quoted = {"role": "assistant", "content": reply.text or ""}
        return AskAgain(
            Grade(None, "no grade"), "no grade", (quoted, {"role": "user", "content": "A number!"})
        )

    def without_answer(self, why: NoAnswer) -> Grade:
        return Grade(None, f"{why.ending}: {why.reason}")


class Recorded:
    """A transport that plays back replies by the text asked about, and repeats the last one."""

    url, model = "file:///recorded", "recorded"

    def __init__(self, **replies: list[Reply]) -> None:
        self.replies = replies
        self.asked: list[tuple[ChatMessages, dict[str, Any]]] = []
        self.closed = False

    async def ask(self, messages: ChatMessages, **fields: Any) -> Reply:
        await asyncio.sleep(0)
        self.asked.append((messages, fields))
        replies = self.replies[messages[0]["content"]]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    async def aclose(self) -> None:
        self.closed = True


def answer(text: str, outcome: CallOutcome = CallOutcome.ANSWERED) -> Reply:
    return Reply(outcome, None, text, "stop", prompt_tokens=100, completion_tokens=10)


def question(text: str) -> Question[Grade]:
    messages = [{"role": "user", "content": text}]
    return Question("grading", f"text-{text}", messages, Decoding(20), GradeReader(), 5)


async def grade(path: Path, transport: Recorded, *texts: str, **options: Any) -> dict[str, list[Grade]]:
    """The grades of these texts, asked for together."""
    budget = options.pop("budget", None)
    settings = AskerSettings("grading", **{"backoff_s": 0.001, "price": PRICE, **options})
    async with (
        AnswerJournal(path, linger_s=0.001) as journal,
        Asker(transport, settings, journal=journal, budget=budget) as asker,
    ):
        grades = [grade async for grade in asker.ask(map(question, texts))]
    assert transport.closed
    values = [record for record, _ in read(path) if not isinstance(record, CallSent) and record.value]
    assert sorted(map(str, grades)) == sorted(str(Grade(**record.value)) for record in values)
    found: dict[str, list[Grade]] = {}
    for record in values:
        found.setdefault(record.subject_id, []).append(Grade(**record.value))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


async def test_each_verdict_is_acted_on(path: Path):
    transport = Recorded(
        good=[answer("grade: 7")],
        unfit=[answer("well"), answer("grade: 3")],
        cut=[answer("gra", CallOutcome.CUT_BY_LENGTH), answer("grade: 5")],
        never=[answer("no idea")],
        down=[Reply(CallOutcome.SERVER_ERROR, "HTTP 500", status=500), answer("grade: 1")],
        refused=[Reply(CallOutcome.REFUSED, "not this one")],
    )
    grades = await grade(path, transport, *transport.replies)
    assert grades == {
        "text-good": [Grade(7)],
        "text-unfit": [Grade(3)],
        "text-cut": [Grade(5)],
        "text-never": [Grade(None, "no grade")],
        "text-down": [Grade(1)],
        "text-refused": [Grade(None, f"{Ending.REFUSED}: not this one")],
    }
    asked = {
        text: [one for one in transport.asked if one[0][0]["content"] == text] for text in transport.replies
    }
    assert [fields["max_tokens"] for _, fields in asked["cut"]] == [20, 40]
    assert [len(messages) for messages, _ in asked["unfit"]] == [1, 3]
    assert {len(asked[text]) for text in ("unfit", "cut", "never", "down")} == {2}


async def test_every_call_is_journalled_with_its_purpose_and_what_it_cost(path: Path):
    await grade(path, Recorded(a=[answer("well"), answer("grade: 3")]), "a")
    records = [record for record, _ in read(path)]
    assert not calls_in_flight(records)
    assert {(record.purpose, record.subject_id) for record in records} == {("grading", "text-a")}
    answers = [record for record in records if isinstance(record, CallAnswered)]
    assert [(a.attempt, a.message, a.cost_usd) for a in answers] == [
        (1, "no grade", pytest.approx(110e-6)),
        (2, None, pytest.approx(110e-6)),
    ]


async def test_the_budget_holds(path: Path):
    transport = Recorded(a=[answer("grade: 1")], b=[answer("grade: 2")])
    most = PRICE.most(["a"], 20)
    with pytest.raises(BudgetReachedError):
        await grade(path, transport, "a", "b", budget=Budget(1.2 * most), max_concurrency=1)
    assert sum(isinstance(record, CallSent) for record, _ in read(path)) == 1
    spent = sum(record.cost_usd or 0 for record, _ in read(path) if isinstance(record, CallAnswered))
    assert 0 < spent <= 1.2 * most


async def test_a_question_that_no_request_can_carry_is_settled_without_a_call(path: Path):
    transport = Recorded()
    unaskable = Unaskable("grading", "text-x", Grade(None, "too odd"))
    async with (
        AnswerJournal(path) as journal,
        Asker(transport, AskerSettings("grading"), journal=journal) as asker,
    ):
        assert [grade async for grade in asker.ask([unaskable])] == [Grade(None, "too odd")]
    [(record, _)] = read(path)
    assert isinstance(record, RowSettled)
    assert (record.subject_id, record.value) == ("text-x", {"grade": None, "why": "too odd"})
    assert transport.asked == []


GRADES = ValueTable(
    lambda subject_id, value, mark: {"subject_id": subject_id, "grade": Grade(**value).grade},
    known="SELECT subject_id FROM grades",
    submit="UPDATE grades SET asked = true FROM incoming i WHERE grades.subject_id = i.subject_id",
    store="UPDATE grades SET grade = i.grade FROM incoming i WHERE grades.subject_id = i.subject_id",
)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "figa.duckdb")
    database.create()
    with database.open() as connection:
        connection.execute("CREATE TABLE grades (subject_id TEXT, grade INTEGER, asked BOOLEAN)")
        connection.execute("INSERT INTO grades VALUES ('text-a', NULL, false), ('text-b', NULL, false)")
    return database


async def test_grades_and_calls_reach_the_database(path: Path, database: Database):
    await grade(path, Recorded(a=[answer("grade: 4")], c=[answer("grade: 6")]), "a", "c")
    tables = {**VALUE_TABLES, "grading": GRADES}
    assert take_in(database, path, tables=tables) == Intake(sent=2, answered=2, settled=1, unknown=1)
    assert database.fetch("SELECT * FROM grades ORDER BY 1") == [
        ("text-a", 4, True),
        ("text-b", None, False),
    ]
    assert database.fetch("SELECT DISTINCT purpose, outcome FROM calls") == [("grading", "answered")]


async def test_values_of_a_purpose_without_a_table_are_not_dropped(path: Path, database: Database):
    await grade(path, Recorded(a=[answer("grade: 4")]), "a")
    with pytest.raises(StorageError, match=r"journal\.jsonl: it holds answers for 'grading'"):
        take_in(database, path)
    assert database.fetch("SELECT count(*) FROM calls") == [(0,)]
    assert take_in(database, path, tables={"grading": GRADES}).settled == 1
