"""A judge compares the held-out answers of two models: in both orders, and no question is paid for twice."""

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from figa_core import ids
from figa_core.config.file import parse_config
from figa_core.config.revision import ModelPrice
from figa_core.errors import InputError
from figa_core.records import FinishReason, Message, Prompt, Response, Split
from figa_core.report.data import JudgedPair
from figa_core.storage import revisions
from figa_core.storage.evaluations import Evaluation, save_evaluation
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.runs import find_run
from tasks.prefer import Side, judged_pairs, prefer, side_of
from tasks.score_by_judge import JudgedTexts
from tasks.workspace import Workspace
from tests.figa_core.llm.misbehaving import MisbehavingServer, Reaction, Received, misbehaving_server

from .conftest import KEY_VARIABLE, RUN

BASE, FIGA = Side("base", "generator-base"), Side("FIGA", "generator-figa")
SHOWN = re.compile(r'<response name="[AB]">\n(.*?)\n</response>', re.DOTALL)


@dataclass
class Contest:
    """The stage with a judge behind a stub server, which chooses by the two texts."""

    workspace: Workspace
    server: MisbehavingServer
    choose: Callable[[str, str], str] = lambda first, second: "A" if first > second else "B"
    model: str | None = "m"

    @property
    def config(self):
        price = ModelPrice(usd_per_million_prompt_tokens=10, usd_per_million_completion_tokens=10)
        data = {
            "workspace": {"path": str(self.workspace.directory)},
            "prompts": {"path": "prompts.jsonl"},
            "generation": {"model": "base"},
            "reward": {"model": "reward"},
            "revision": {"model": "another", "base_url": self.server.url, "api_key_env": KEY_VARIABLE},
            "revision_batches": {"rows": 3},
            "spending": {"prices": {"m": price.model_dump()}},
            "evaluation": {"judge": {"model": self.model}},
        }
        return parse_config(data, source="a test", base=self.workspace.directory)

    def add(self, answers: list[tuple[str, str]]) -> None:
        database = self.workspace.database
        prompts = [
            Prompt(ids.prompt_id(messages), messages, Split.HELD_OUT)
            for i in range(len(answers))
            for messages in [(Message("user", f"question {i}"),)]
        ]
        save_prompts(database, RUN, prompts)
        for place, side in enumerate((BASE, FIGA)):
            responses = [
                Response(f"{side.label}-{i}", prompt.prompt_id, 0, pair[place], (5,), FinishReason.STOP)
                for i, (prompt, pair) in enumerate(zip(prompts, answers, strict=True))
            ]
            save_responses(database, side.generator, responses)
            row = Evaluation(RUN, side.label, "reward", side.generator, "scorer", len(answers), 0.0, None)
            save_evaluation(database, row)

    async def prefer(self, one: Side = BASE, other: Side = FIGA) -> JudgedTexts:
        return await prefer(self.workspace, RUN, self.config, one, other)

    def pair(self) -> JudgedPair:
        [found] = judged_pairs(self.workspace, find_run(self.workspace.database, RUN), self.config)
        return found

    def answer(self, _number: int, request: Received) -> Reaction:
        first, second = SHOWN.findall(request.body["messages"][1]["content"])
        choice = self.choose(first, second)
        text = choice if len(choice) > 3 else json.dumps({"reason": "so", "better": choice})
        usage = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
        return self.server.completion(text, usage=usage)


@pytest.fixture
async def contest(workspace: Workspace) -> AsyncIterator[Contest]:
    async with misbehaving_server() as server:
        contest = Contest(workspace, server)
        server.script = contest.answer
        yield contest


async def test_both_orders_are_asked_and_equal_answers_are_not(contest: Contest) -> None:
    contest.add([("a", "b"), ("a", "c"), ("d", "a"), ("same", "same")])
    found = await contest.prefer()
    assert (found.counts.n_in, found.counts.n_out) == (6, 6)
    assert len(contest.server.received) == 6
    result = contest.pair()
    assert (result.one, result.other, result.judge) == ("base", "FIGA", "m")
    assert (result.found.wins, result.found.ties, result.found.losses) == (2, 1, 1)
    assert result.found.win_rate.mean == pytest.approx(2.5 / 4)
    assert (result.found.by_place, result.found.same) == (0, 1)
    spent = revisions.spent(contest.workspace.database, RUN)
    assert (spent.calls, spent.usd) == (6, pytest.approx(6 * 1000 * 10 / 1e6))

    await contest.prefer()
    contest.workspace.database.execute("DELETE FROM scores")
    await contest.prefer()
    assert len(contest.server.received) == 6, "nothing is paid for twice"
    await contest.prefer(FIGA, BASE)  # the same questions, the other way round
    assert len(contest.server.received) == 6


async def test_a_judge_that_always_chooses_the_first_is_found_out(contest: Contest) -> None:
    contest.choose = lambda _first, _second: "A"
    contest.add([(f"a{i}", f"b{i}") for i in range(8)])
    await contest.prefer()
    found = contest.pair().found
    assert (found.win_rate.mean, found.first.mean, found.by_place) == (0.5, 1.0, 8)
    assert "position bias: for 8 of 8 prompts" in (found.doubt or "")


async def test_replies_in_prose_leave_their_prompts_out(contest: Contest) -> None:
    contest.choose = lambda first, second: "I like both." if "odd" in first + second else "B"
    contest.add([("a", "odd"), ("a", "b")])
    found = await contest.prefer()
    assert (found.counts.n_in, found.counts.n_out, found.without) == (4, 2, 2)
    result = contest.pair().found
    assert (result.win_rate.n, result.left_out) == (1, 1)


async def test_without_a_held_out_prompt_nothing_is_asked_and_nothing_is_said(contest: Contest) -> None:
    found = await contest.prefer()
    assert found.counts.n_in == 0
    assert contest.server.received == []
    run = find_run(contest.workspace.database, RUN)
    assert list(judged_pairs(contest.workspace, run, contest.config)) == []
    with pytest.raises(
        InputError, match=r"'FIGA': no model of this name was evaluated .*evaluated were: none"
    ):
        side_of(contest.workspace, RUN, "FIGA")


async def test_a_model_that_another_one_replaced_keeps_no_comparison(contest: Contest) -> None:
    contest.add([("a", "b"), ("a", "c")])
    await contest.prefer()
    assert side_of(contest.workspace, RUN, "FIGA") == FIGA
    row = Evaluation(RUN, "FIGA", "reward", "a later generator", "scorer", 2, 0.0, None)
    save_evaluation(contest.workspace.database, row)
    run = find_run(contest.workspace.database, RUN)
    assert list(judged_pairs(contest.workspace, run, contest.config)) == []
