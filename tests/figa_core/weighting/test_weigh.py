"""The weigh stage's rules for one pair, on a tokenizer of single bytes."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from figa_core.chat import ChatFormat
from figa_core.records import EditClass, FinishReason, Message, WeighedPair
from figa_core.weighting.schemes import levenshtein
from figa_core.weighting.weigh import PairTexts, SkippedPair, restore_whitespace, weigh_pair, weigh_pairs

K, I, S, D, E = (EditClass(value) for value in range(5))  # noqa: E741
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "{{ m.content }}{% if m.role == 'assistant' %}<e>{% else %}|{% endif %}{% endfor %}"
)
PROMPT = 3  # tokens of the prompt "hi|"


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(["<e>", *alphabet])}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<e>")
    tokenizer.chat_template = TEMPLATE
    return ChatFormat.from_tokenizer(tokenizer)


def weigh(chat: ChatFormat, response: str, revision: str, **changes: Any) -> WeighedPair | SkippedPair:
    fields: dict[str, Any] = {
        "pair_id": "pair",
        "messages": (Message("user", "hi"),),
        "response_finish": FinishReason.STOP,
        "reference_text": None,
        "scheme": levenshtein,
        "max_length": 100,
        "response_reward": -1.0,
        "revision_reward": 2.0,
    }
    return weigh_pair(chat, response_text=response, revision_text=revision, **(fields | changes))


def weighed(chat: ChatFormat, response: str, revision: str, **changes: Any) -> WeighedPair:
    result = weigh(chat, response, revision, **changes)
    assert isinstance(result, WeighedPair), result
    return result


def test_an_ordinary_pair(chat: ChatFormat) -> None:
    pair = weighed(chat, "abc", "axcd", reference_text="ok")
    assert pair.response_classes == (K, S, K, E)
    assert pair.revision_classes == (K, S, K, I, E)
    assert pair.response_ids == chat.response_ids("abc") + chat.end_of_turn_ids
    assert pair.revision_ids == chat.response_ids("axcd") + chat.end_of_turn_ids
    assert pair.reference_ids == chat.response_ids("ok") + chat.end_of_turn_ids
    assert pair.prompt_ids == chat.prompt_ids([Message("user", "hi")])
    assert (pair.response_reward, pair.revision_reward) == (-1.0, 2.0)


def test_whitespace_that_the_reviser_stripped_is_no_edit(chat: ChatFormat) -> None:
    pair = weighed(chat, "\n abc \n", "abx")
    assert pair.revision_classes == (K, K, K, K, S, K, K, E)
    assert isinstance(weigh(chat, " abc ", "abc"), SkippedPair)


@pytest.mark.parametrize(
    ("response", "revision", "restored"),
    [(" a ", "b", " b "), ("a", " b\n", "b"), ("", " b ", "b"), ("  ", "b", "b"), ("a", "  ", "")],
)
def test_restored_whitespace(response: str, revision: str, restored: str) -> None:
    assert restore_whitespace(response, revision) == restored


def test_a_response_cut_by_generation_and_its_revision_have_no_end_of_turn(chat: ChatFormat) -> None:
    pair = weighed(chat, "abc", "axc", response_finish=FinishReason.LENGTH)
    assert pair.response_classes == (K, S, K)
    assert pair.revision_classes == (K, S, K)


def test_an_overlong_answer_loses_its_end_and_its_end_of_turn(chat: ChatFormat) -> None:
    pair = weighed(chat, "abc", "axcdef", max_length=PROMPT + 4, reference_text="abcdefgh")
    assert pair.response_classes == (K, S, K, E)
    assert pair.revision_classes == (K, S, K, I)
    assert pair.revision_ids == chat.response_ids("axcd")
    assert pair.reference_ids == chat.response_ids("abcd")


def test_an_answer_that_fits_exactly_without_its_end_of_turn_has_none(chat: ChatFormat) -> None:
    assert weighed(chat, "abc", "axc", max_length=PROMPT + 3).revision_classes == (K, S, K)


def test_an_empty_response_is_all_insertion(chat: ChatFormat) -> None:
    pair = weighed(chat, "", "ab")
    assert pair.response_classes == (E,)
    assert pair.revision_classes == (I, I, E)


@pytest.mark.parametrize(
    ("response", "revision", "changes", "reason"),
    [
        ("abc", "abc", {}, "identical"),
        ("abc", "  ", {}, "empty"),
        ("abc", "abx", {"max_length": PROMPT}, "leaves no room in max_length=3"),
        ("abcdef", "abcdex", {"max_length": PROMPT + 2}, "no edit within"),
        ("abc", "abx", {"messages": (Message("tool", "hi"),)}, "refuses"),
    ],
)
def test_pairs_that_cannot_be_trained_on_are_skipped_with_the_reason(
    chat: ChatFormat, response: str, revision: str, changes: dict[str, Any], reason: str
) -> None:
    result = weigh(chat, response, revision, **changes)
    assert isinstance(result, SkippedPair)
    assert result.pair_id == "pair"
    assert reason in result.reason


def test_a_multi_byte_character_split_over_tokens_is_compared_by_token(chat: ChatFormat) -> None:
    pair = weighed(chat, "é", "è")  # the same first byte
    assert pair.response_classes == (K, S, E)


def test_one_bad_pair_does_not_stop_the_others(chat: ChatFormat) -> None:
    def texts(name: str, role: str) -> PairTexts:
        return PairTexts(name, (Message(role, "hi"),), "abc", FinishReason.STOP, "abx", None, 0.0, 1.0)

    pairs = [texts("first", "user"), texts("bad", "tool"), texts("last", "user")]
    results = list(weigh_pairs(chat, pairs, scheme=levenshtein, max_length=50))
    assert [result.pair_id for result in results] == ["first", "bad", "last"]
    assert [isinstance(result, SkippedPair) for result in results] == [False, True, False]
