"""The worker's rewards are the run's: the same texts get the same numbers."""

import pytest

from figa_core.chat.format import load_chat_format
from figa_core.errors import TrainingError
from figa_core.inference.engine import Scoring
from figa_core.inference.transformers import TransformersScorer
from figa_core.ports import RowFailure, ScoringRequest
from figa_core.records import Message
from figa_core.rl.rewards import Drawn, Rewards
from figa_core.sandbox.build import Sandbox

QUESTION = (Message("user", "where is my order 4711?"),)
ANSWERS = ("your order has been sent. it arrives on monday.", "no", "", "we are sorry: " * 20)


@pytest.fixture
def rewards(sandbox: Sandbox) -> Rewards:
    return Rewards(sandbox.base_model, sandbox.reward_model, max_length=64, tokens_per_batch=256)


def of_the_run(sandbox: Sandbox, texts: list[str]) -> list[float]:
    """As the score stage does it."""
    chat = load_chat_format(sandbox.reward_model)
    found = chat.conversation_ids_or_reasons([(QUESTION, text) for text in texts])
    requests = [
        ScoringRequest(str(row), ids[-64:]) for row, ids in enumerate(found) if not isinstance(ids, str)
    ]
    scorer = TransformersScorer(Scoring(sandbox.reward_model, 64, tokens_per_batch=256))
    values = dict(row for batch in scorer.score(requests) for row in batch if not isinstance(row, RowFailure))
    return [values[str(row)] for row in range(len(texts))]


def test_a_sample_gets_the_reward_that_the_run_gives_its_text(sandbox: Sandbox, rewards: Rewards) -> None:
    chat = load_chat_format(sandbox.base_model)
    drawn = [Drawn(QUESTION, (*chat.response_ids(text), *chat.end_of_turn_ids)) for text in ANSWERS]
    texts = [rewards.text(each.token_ids) for each in drawn]
    assert texts == [chat.decode(chat.response_ids(text)) for text in ANSWERS]
    assert rewards.of(drawn) == of_the_run(sandbox, texts)
    assert rewards.unscored == 0
    assert rewards.scored_tokens > 0


def test_what_follows_the_end_of_turn_is_no_part_of_the_answer(sandbox: Sandbox, rewards: Rewards) -> None:
    chat = load_chat_format(sandbox.base_model)
    ids = (*chat.response_ids("no"), *chat.end_of_turn_ids)
    assert rewards.text((*ids, *chat.response_ids("yes"))) == rewards.text(ids) == chat.decode(ids[:-1])


def test_what_follows_a_text_that_ends_an_answer_is_no_part_of_it(sandbox: Sandbox) -> None:
    models = sandbox.base_model, sandbox.reward_model
    rewards = Rewards(*models, max_length=64, tokens_per_batch=256, stop=(" it arrives",))
    ids = load_chat_format(sandbox.base_model).response_ids(ANSWERS[0])
    assert rewards.text(ids) == "your order has been sent."
    assert rewards.of([Drawn(QUESTION, ids)]) == of_the_run(sandbox, ["your order has been sent."])


def test_an_answer_that_was_cut_is_scored_as_it_is(sandbox: Sandbox, rewards: Rewards) -> None:
    chat = load_chat_format(sandbox.base_model)
    ids = chat.response_ids(ANSWERS[0])[:5]
    assert rewards.of([Drawn(QUESTION, ids)]) == of_the_run(sandbox, [chat.decode(ids)])


def test_a_sample_whose_conversation_is_refused_has_no_reward(sandbox: Sandbox, rewards: Rewards) -> None:
    chat = load_chat_format(sandbox.base_model)
    ids = chat.response_ids("no")
    refused = Drawn((Message("user", "half a pair: \ud800"),), ids)
    good, none = rewards.of([Drawn(QUESTION, ids), refused])
    assert (good, none) == (of_the_run(sandbox, ["no"])[0], None)
    assert rewards.unscored == 1
    with pytest.raises(TrainingError, match="none of a step's samples has a reward"):
        rewards.of([refused])
