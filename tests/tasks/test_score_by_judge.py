"""A judge: what it is asked, what has no score, and that no question is paid for twice."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from figa_core.config import (
    JudgeRewardConfig,
    RevisionBatchesConfig,
    RevisionConfig,
    RevisionPromptConfig,
    SpendingConfig,
)
from figa_core.config.revision import ModelPrice
from figa_core.errors import OpenRevisionsError, UnjudgedAnswersError
from figa_core.records import Split
from figa_core.storage import revisions
from figa_core.storage.database import Database
from figa_core.storage.migrations import SCHEMA_VERSION
from figa_core.storage.runs import save_run
from figa_core.storage.scores import count_unscored, responses_of
from tasks.judge_settings import JudgeSections
from tasks.rewards import Part
from tasks.score_by_judge import JudgedTexts, check_judged, open_line, score_by_judge
from tasks.workspace import Workspace
from tests.figa_core.llm.misbehaving import MisbehavingServer, Reaction, Received, misbehaving_server

from .conftest import KEY_VARIABLE, RUN
from .rating import GENERATOR, RESPONSES, add_responses, failures_of, values_of

SCORER = "judge-1"


@dataclass
class Judge:
    """The stage with a judge behind a stub server, which gives a score for each text."""

    workspace: Workspace
    server: MisbehavingServer
    sections: JudgeSections
    scores: dict[str, Any]

    @property
    def database(self) -> Database:
        return self.workspace.database

    async def score(self, run_id: str = RUN) -> JudgedTexts:
        return await score_by_judge(self.workspace, run_id, self.part, self.sections, RESPONSES)

    @property
    def part(self) -> Part:
        assert isinstance(self.sections.judge, JudgeRewardConfig)
        return Part("tone", self.sections.judge, SCORER)

    def answer(self, _number: int, request: Received) -> Reaction:
        text = json.dumps(request.body["messages"])
        score = next(score for word, score in self.scores.items() if f"\\n{word}\\n" in text)
        if isinstance(score, int) and score >= 400:
            return self.server.error(score, "down")
        text = score if isinstance(score, str) else json.dumps({"score": score})
        usage = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
        return self.server.completion(text, usage=usage)


@pytest.fixture
async def judge(workspace: Workspace) -> AsyncIterator[Judge]:
    async with misbehaving_server() as server:
        sections = JudgeSections(
            JudgeRewardConfig(name="tone", judge="m", fields=("answer",)),
            RevisionConfig(model="another", base_url=server.url, api_key_env=KEY_VARIABLE, max_attempts=2),
            RevisionPromptConfig(asked_again_max=1),
            RevisionBatchesConfig(rows=3),
            SpendingConfig(
                prices={
                    "m": ModelPrice(usd_per_million_prompt_tokens=10, usd_per_million_completion_tokens=10)
                }
            ),
        )
        judge = Judge(workspace, server, sections, {})
        server.script = judge.answer
        yield judge


async def test_scores_are_stored_and_equal_answers_are_asked_about_once(judge: Judge) -> None:
    judge.scores = {"kind": 9, "rude": 1.5}
    add_responses(judge.database, ["kind", "rude"], answer=42)
    found = await judge.score()
    assert (found.counts.n_in, found.counts.n_out, found.open_rows, found.without) == (2, 2, 0, 0)
    check_judged(found, "tone", 0.0)
    assert open_line(found, "tone") is None
    assert values_of(judge.database, SCORER) == {"kind": 9.0, "rude": 1.5}
    [first, _] = judge.server.received
    assert '<field name="answer">\n42\n</field>' in first.body["messages"][-1]["content"]
    assert first.body["model"] == "m"
    spent = revisions.spent(judge.database, RUN)
    assert (spent.calls, spent.usd) == (2, pytest.approx(2 * 1000 * 10 / 1e6))

    assert await judge.score() == found
    judge.database.execute("DELETE FROM scores")  # such as for another scorer id with the same questions
    assert (await judge.score()).counts == found.counts
    assert len(judge.server.received) == 2


async def test_a_lost_database_gets_the_answers_back_from_the_journal(judge: Judge) -> None:
    judge.scores = {"kind": 9}
    add_responses(judge.database, ["kind"], answer=42)
    await judge.score()
    judge.database.path.unlink()
    judge.database.create()
    save_run(judge.database, RUN, "test", {}, None)
    add_responses(judge.database, ["kind"], answer=42)
    await judge.score()
    assert values_of(judge.database, SCORER) == {"kind": 9.0}
    assert len(judge.server.received) == 1
    assert judge.database.value("SELECT max(number) FROM migrations") == SCHEMA_VERSION


async def test_an_answer_in_prose_is_asked_for_again_and_then_the_row_has_no_score(judge: Judge) -> None:
    good = {f"good {i}": 8 for i in range(11)}
    judge.scores = {**good, "odd": "I liked it a lot: 9 of 10."}
    add_responses(judge.database, list(judge.scores), answer=42)
    found = await judge.score()
    assert (found.counts.n_out, found.counts.reasons, found.without) == (11, {"unfit": 1}, 1)
    check_judged(found, "tone", 0.0)
    assert failures_of(judge.database, SCORER) == {"odd": "the judge gave no score: unfit (it is not JSON)"}
    assert len(judge.server.received) == 13
    objection = next(r for r in judge.server.received if len(r.body["messages"]) > 2)
    assert "That answer cannot be used: it is not JSON" in objection.body["messages"][-1]["content"]
    await judge.score()
    assert len(judge.server.received) == 13  # an unfit answer is final: it is not paid for again
    assert count_unscored(judge.database, RESPONSES, SCORER) == 0


async def test_a_judge_that_only_talks_ends_the_run_with_an_example(judge: Judge) -> None:
    judge.scores = dict.fromkeys(["a", "b", "c", "d"], "What a nice reply!")
    add_responses(judge.database, list(judge.scores), answer=42)
    found = await judge.score()
    with pytest.raises(
        UnjudgedAnswersError, match=r"(?s)4 of 4 answers have no score of the judge 'tone'.*JSON"
    ):
        check_judged(found, "tone", 1.0)


async def test_what_an_earlier_run_settled_counts_in_another_run(judge: Judge) -> None:
    """Otherwise a run with another threshold would continue with a judge that only talks."""
    judge.scores = {"good": 8, **dict.fromkeys(["a", "b", "c"], "What a nice reply!")}
    add_responses(judge.database, list(judge.scores), answer=42)
    first, asked = await judge.score(), len(judge.server.received)
    judge.database.execute(
        "INSERT INTO run_prompts BY NAME SELECT * REPLACE ('another' AS run_id) FROM run_prompts"
    )
    texts = responses_of("another", GENERATOR, Split.TRAIN)
    found = await score_by_judge(judge.workspace, "another", judge.part, judge.sections, texts)
    assert (found.counts.n_in, found.counts.n_out, found.without) == (4, 1, 3)
    assert (first.counts.n_in, first.counts.n_out, first.without) == (4, 1, 3)
    with pytest.raises(UnjudgedAnswersError, match="3 of 4 answers have no score"):
        check_judged(found, "tone", 0.0)
    assert len(judge.server.received) == asked


async def test_a_server_error_leaves_rows_open_and_a_retry_asks_for_these_only(judge: Judge) -> None:
    judge.scores = {"a": 3, "b": 500, "c": 5}
    add_responses(judge.database, list(judge.scores), answer=42)
    found = await judge.score()
    assert (found.open_by_kind, found.without) == ({"server_error": 1}, 0)
    with pytest.raises(OpenRevisionsError, match=r"1 judgements are still open \(1 server_error\) of 3"):
        check_judged(found, "tone", 0.0)
    check_judged(found, "tone", 0.5)
    assert "these rows are left out" in (open_line(found, "tone") or "")
    assert failures_of(judge.database, SCORER) == {}

    asked = len(judge.server.received)
    judge.scores["b"] = 4
    assert (await judge.score()).open_rows == 0
    assert len(judge.server.received) == asked + 1
    assert values_of(judge.database, SCORER) == {"a": 3.0, "b": 4.0, "c": 5.0}


async def test_the_budget_of_the_run_holds_for_its_judges(judge: Judge) -> None:
    judge.scores = {f"text {i}": 5 for i in range(6)}
    add_responses(judge.database, list(judge.scores), answer=42)
    price = ModelPrice(usd_per_million_prompt_tokens=1000.0, usd_per_million_completion_tokens=1000.0)
    few = judge.sections.judge.model_copy(update={"max_tokens": 100})
    spending = SpendingConfig(budget_usd=4.0, prices={"m": price})
    judge.sections = replace(judge.sections, judge=few, spending=spending)
    found = await judge.score()
    assert found.stopped_by is not None
    assert 0 < found.open_rows < 6
    assert (revisions.spent(judge.database, RUN).usd or 0) <= 4.0
    with pytest.raises(OpenRevisionsError, match=r"budget of \$4\.00 is reached"):
        check_judged(found, "tone", 0.0)
