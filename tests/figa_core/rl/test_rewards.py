"""The worker's rewards are the run's: the same texts get the same numbers."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from figa_core.chat.format import load_chat_format
from figa_core.errors import EngineError, TrainingError
from figa_core.inference.engine import Scoring
from figa_core.inference.transformers import TransformersScorer
from figa_core.ports import RowFailure, ScoringRequest
from figa_core.records import Message
from figa_core.rl.job_rewards import JobReward, ProgramReward
from figa_core.rl.rewards import Drawn, Rewards
from figa_core.sandbox.build import Sandbox

from .jobs import model_reward

QUESTION = (Message("user", "where is my order 4711?"),)
ANSWERS = ("your order has been sent. it arrives on monday.", "no", "", "we are sorry: " * 20)
PROGRAM = """
import math, os, time

def rate(messages, text, answer=None):
    assert messages[-1].content.startswith("where")
    if text == "hang":
        time.sleep(600)
    if text == "crash":
        os._exit(3)
    if text == "huge":
        return 1e39
    return math.nan if text == "unsure" else float(len(text)) if answer is None else float(text == answer)
"""


def made(sandbox: Sandbox, logs: Path, *rewards: JobReward, **settings: Any) -> Rewards:
    return Rewards(sandbox.base_model, rewards, tokens_per_batch=256, logs=logs, **settings)


@pytest.fixture
def rewards(sandbox: Sandbox, tmp_path: Path) -> Rewards:
    return made(sandbox, tmp_path, model_reward(sandbox, max_length=64))


def program(**settings: Any) -> ProgramReward:
    fields = {"name": "facts", "function": "a_program_of_a_training:rate", "memory_limit_mib": 512}
    return ProgramReward.model_validate({"time_limit_s": 10.0, "processes": 2, **fields, **settings})


@pytest.fixture
def rated(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rewards]:
    """By the program above alone."""
    (tmp_path / "a_program_of_a_training.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    with made(sandbox, tmp_path, program(time_limit_s=1.0, fields=["answer"])) as rewards:
        yield rewards


def of_the_run(sandbox: Sandbox, texts: Sequence[str]) -> list[float]:
    """As the score stage does it."""
    chat = load_chat_format(sandbox.reward_model)
    found = chat.conversation_ids_or_reasons([(QUESTION, text) for text in texts])
    requests = [
        ScoringRequest(str(row), ids[-64:]) for row, ids in enumerate(found) if not isinstance(ids, str)
    ]
    scorer = TransformersScorer(Scoring(sandbox.reward_model, 64, tokens_per_batch=256))
    values = dict(row for batch in scorer.score(requests) for row in batch if not isinstance(row, RowFailure))
    return [values[str(row)] for row in range(len(texts))]


def drawn(sandbox: Sandbox, texts: Sequence[str], **fields: Any) -> list[Drawn]:
    """Samples of these texts, each with its end of turn."""
    chat = load_chat_format(sandbox.base_model)
    return [Drawn(QUESTION, (*chat.response_ids(text), *chat.end_of_turn_ids), fields) for text in texts]


def test_a_sample_gets_the_reward_that_the_run_gives_its_text(sandbox: Sandbox, rewards: Rewards) -> None:
    samples = drawn(sandbox, ANSWERS)
    texts = [rewards.text(each.token_ids) for each in samples]
    chat = load_chat_format(sandbox.base_model)
    assert texts == [chat.decode(chat.response_ids(text)) for text in ANSWERS]
    expected = of_the_run(sandbox, texts)
    assert rewards.of(samples) == expected
    assert rewards.unscored == 0
    assert rewards.scored_by_model["reward"] > 0
    assert rewards.mean == pytest.approx(sum(expected) / len(expected))


def test_what_follows_the_end_of_turn_is_no_part_of_the_answer(sandbox: Sandbox, rewards: Rewards) -> None:
    chat = load_chat_format(sandbox.base_model)
    ids = (*chat.response_ids("no"), *chat.end_of_turn_ids)
    assert rewards.text((*ids, *chat.response_ids("yes"))) == rewards.text(ids) == chat.decode(ids[:-1])


def test_what_follows_a_text_that_ends_an_answer_is_no_part_of_it(sandbox: Sandbox, tmp_path: Path) -> None:
    rewards = made(sandbox, tmp_path, model_reward(sandbox, max_length=64), stop=(" it arrives",))
    ids = load_chat_format(sandbox.base_model).response_ids(ANSWERS[0])
    assert rewards.text(ids) == "your order has been sent."
    assert rewards.of([Drawn(QUESTION, ids)]) == of_the_run(sandbox, ["your order has been sent."])


def test_an_answer_that_was_cut_is_scored_as_it_is(sandbox: Sandbox, rewards: Rewards) -> None:
    chat = load_chat_format(sandbox.base_model)
    ids = chat.response_ids(ANSWERS[0])[:5]
    assert rewards.of([Drawn(QUESTION, ids)]) == of_the_run(sandbox, [chat.decode(ids)])


def test_a_sample_whose_conversation_is_refused_has_no_reward(sandbox: Sandbox, rewards: Rewards) -> None:
    [good] = drawn(sandbox, ["no"])
    refused = Drawn((Message("user", "half a pair: \ud800"),), good.token_ids)
    assert rewards.of([good, refused]) == [*of_the_run(sandbox, ["no"]), None]
    assert rewards.unscored == 1


def test_samples_that_all_fail_end_a_training_once_there_are_enough_of_them(
    sandbox: Sandbox, rewards: Rewards
) -> None:
    refused = [Drawn((Message("user", "half a pair: \ud800"),), (1,))] * 8
    for _ in range(3):
        assert rewards.of(refused) == [None] * 8
    with pytest.raises(TrainingError, match="32 of the first 32 samples have no reward: 32 × "):
        rewards.of(refused)


def test_a_hang_or_a_crash_costs_a_sample_its_reward_and_no_other(sandbox: Sandbox, rated: Rewards) -> None:
    samples = drawn(sandbox, ["no", "hang", "crash", "huge", "unsure", "yes"], answer="yes")
    assert rated.of(samples) == [0.0, None, None, None, None, 1.0]
    assert rated.unscored == 4
    assert set(rated.reasons) == {
        "the program took more than 1 s",
        "the program ended its process",
        "the value is too large for a number of 32 bits",
        "the program cannot say",
    }
    assert rated.of(samples[-1:]) == [1.0]


def test_any_number_of_samples_may_be_beyond_what_a_program_can_say(sandbox: Sandbox, rated: Rewards) -> None:
    assert rated.of(drawn(sandbox, ["unsure"] * 40)) == [None] * 40
    assert (rated.unscored, rated.mean) == (40, None)


def test_a_program_that_cannot_be_imported_ends_the_training(sandbox: Sandbox, tmp_path: Path) -> None:
    missing = program(function="there_is_no_such_module:rate")
    with (
        made(sandbox, tmp_path, missing) as rewards,
        pytest.raises(EngineError, match="there_is_no_such_module cannot be imported"),
    ):
        rewards.of(drawn(sandbox, ["no"]))


def test_several_are_added_up_on_their_scales_and_none_is_left_out(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_program_of_a_training.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    model = model_reward(sandbox, max_length=64, mean=0.25, factor=2.0)
    with made(sandbox, tmp_path, model, program(mean=3.0, factor=-0.5)) as rewards:
        found = rewards.of(drawn(sandbox, ["no", "unsure", ANSWERS[0]]))
    first, _, last = of_the_run(sandbox, ["no", "unsure", ANSWERS[0]])
    assert found == [
        pytest.approx(2 * (first - 0.25) - 0.5 * (2 - 3), abs=1e-12),
        None,
        pytest.approx(2 * (last - 0.25) - 0.5 * (len(ANSWERS[0]) - 3), abs=1e-12),
    ]
    assert rewards.reasons == {"facts: the program cannot say": 1}
    assert math.isfinite(rewards.mean or math.nan)
