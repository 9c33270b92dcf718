"""The weigh stage's rules for one pair, on a tokenizer of single bytes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from figa_core.chat.format import ChatFormat
from figa_core.records import AdmittedPair, EditClass, FinishReason, Message, WeighedPair
from figa_core.weighting.schemes import levenshtein, reward_scaled
from figa_core.weighting.weigh import SkippedPair, weigh_pairs
from tests.figa_core.chat.templates.styles import STYLES, Spaces, ids_of, plain_format, tokens
from tests.figa_core.chat.templates.styles import chat_format as styled

K, I, S, D, E = (EditClass(value) for value in range(5))  # noqa: E741
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "{{ m.content }}{% if m.role == 'assistant' %}<e>{% else %}|{% endif %}{% endfor %}"
)
PROMPT = 3  # tokens of the prompt "hi|"


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return bytes_format("<e>")


def bytes_format(end: str, normalizer: normalizers.Normalizer | None = None) -> ChatFormat:
    """A chat format of one token a byte, whose turns end with `end`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(["<e>", *alphabet])}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if normalizer is not None:
        core.normalizer = normalizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<e>")
    tokenizer.chat_template = TEMPLATE.replace("<e>", end)
    return ChatFormat.from_tokenizer(tokenizer)


def weigh(chat: ChatFormat, response: str, revision: str, **changes: Any) -> WeighedPair | SkippedPair:
    fields: dict[str, Any] = {
        "pair_id": "pair",
        "response_token_ids": chat.response_ids(response),
        "messages": (Message("user", "hi"),),
        "response_finish": FinishReason.STOP,
        "reference_text": None,
        "scheme": levenshtein,
        "max_length": 100,
        "response_reward": -1.0,
        "revision_reward": 2.0,
    }
    fields |= {"response_text": response, "revision_text": revision} | changes
    scheme, max_length = fields.pop("scheme"), fields.pop("max_length")
    return next(weigh_pairs(chat, [AdmittedPair(**fields)], scheme=scheme, max_length=max_length))


def weighed(chat: ChatFormat, response: str, revision: str, **changes: Any) -> WeighedPair:
    result = weigh(chat, response, revision, **changes)
    assert isinstance(result, WeighedPair), result
    return result


def test_what_the_model_thought_comes_before_both_answers_and_has_no_weight(chat: ChatFormat) -> None:
    thought = chat.response_ids("<think>hm</think>")
    without, behind = weigh(chat, "a b", "a c"), weigh(chat, "a b", "a c", thought_ids=thought)
    assert isinstance(without, WeighedPair)
    assert isinstance(behind, WeighedPair)
    assert behind == replace(without, prompt_ids=without.prompt_ids + thought)

    pair = AdmittedPair(
        "pair", (Message("user", "hi"),), "a b", FinishReason.STOP, (), "a c", None, 0.0, 1.0,
        thought_ids=thought,
    )  # fmt: skip
    [left_out] = weigh_pairs(chat, [pair], scheme=levenshtein, max_length=100, with_thoughts=False)
    assert isinstance(left_out, WeighedPair)
    assert left_out.prompt_ids == without.prompt_ids


def test_a_thought_that_leaves_no_room_is_said_to(chat: ChatFormat) -> None:
    found = weigh(chat, "a b", "a c", thought_ids=(5,) * 97)
    assert found == SkippedPair(
        "pair", "the prompt with the thought has 100 tokens, which leaves no room in max_length=100"
    )


def test_an_ordinary_pair(chat: ChatFormat) -> None:
    pair = weighed(chat, "abc", "axcd", reference_text="ok")
    assert pair.response_classes == (K, S, K, E)
    assert pair.revision_classes == (K, S, K, I, E)
    assert pair.response_ids == chat.response_ids("abc") + chat.end_of_turn_ids
    assert pair.revision_ids == chat.response_ids("axcd") + chat.end_of_turn_ids
    assert pair.reference_ids == chat.response_ids("ok") + chat.end_of_turn_ids
    assert [pair.prompt_ids] == chat.prompt_ids_or_reasons([[Message("user", "hi")]])
    assert (pair.response_reward, pair.revision_reward) == (-1.0, 2.0)


def test_whitespace_that_the_reviser_stripped_is_not_an_edit(chat: ChatFormat) -> None:
    pair = weighed(chat, "\n abc \n", "abx")
    assert pair.revision_classes == (K, K, K, K, S, K, K, E)
    assert isinstance(weigh(chat, " abc ", "abc"), SkippedPair)


def test_a_response_cut_by_generation_and_its_revision_have_no_end_of_turn(chat: ChatFormat) -> None:
    pair = weighed(chat, "abc", "axc", response_finish=FinishReason.LENGTH, reference_text="ok")
    assert pair.response_classes == (K, S, K)
    assert pair.revision_classes == (K, S, K)
    # Y is whole even if Ŷ was cut.
    assert pair.reference_ids == chat.response_ids("ok") + chat.end_of_turn_ids


def test_an_overlong_answer_loses_its_end_and_its_end_of_turn(chat: ChatFormat) -> None:
    pair = weighed(chat, "abc", "axcdef", max_length=PROMPT + 4, reference_text="abcdefgh")
    assert pair.response_classes == (K, S, K, E)
    assert pair.revision_classes == (K, S, K, I)
    assert pair.revision_ids == chat.response_ids("axcd")
    assert pair.reference_ids == chat.response_ids("abcd")


@pytest.mark.parametrize(
    ("room", "kept", "ends"),
    [(6, "abcd", True), (5, "abcd", False), (4, "abcd", False), (3, "abc", False), (2, "ab", False)],
)
def test_an_end_of_turn_of_two_tokens_is_never_cut(room: int, kept: str, ends: bool) -> None:
    chat = bytes_format(";<e>")
    assert len(chat.end_of_turn_ids) == 2
    pair = weighed(chat, "axcd", "abcd", max_length=PROMPT + room, reference_text="abcd")
    closing, classes = (chat.end_of_turn_ids, (E, E)) if ends else ((), ())
    assert pair.revision_ids == pair.reference_ids == chat.response_ids(kept) + closing
    assert pair.revision_classes == (K, S, K, K)[: len(kept)] + classes
    assert pair.response_classes == pair.revision_classes


letters = st.text("abc", max_size=8)


@given(letters, letters, letters, st.integers(PROMPT + 1, PROMPT + 12), st.sampled_from(FinishReason))
def test_cutting_removes_tokens_at_the_end_and_changes_no_class(
    response: str, revision: str, reference: str, max_length: int, finish: FinishReason
) -> None:
    texts = {"response_finish": finish, "reference_text": reference}
    whole = weigh(TWO_AT_THE_END, response, revision, **texts)
    cut = weigh(TWO_AT_THE_END, response, revision, **texts, max_length=max_length)
    if isinstance(whole, SkippedPair) or isinstance(cut, SkippedPair):
        assert isinstance(cut, SkippedPair)
        return
    assert cut.prompt_ids == whole.prompt_ids
    for kind in ("response", "revision", "reference"):
        ids, whole_ids = getattr(cut, f"{kind}_ids"), getattr(whole, f"{kind}_ids")
        assert ids == whole_ids[: len(ids)]
        if len(whole_ids) <= max_length - PROMPT:
            assert ids == whole_ids
        if kind != "reference":
            assert getattr(cut, f"{kind}_classes") == getattr(whole, f"{kind}_classes")[: len(ids)]
            assert getattr(cut, f"{kind}_classes").count(E) in (0, 2)


TWO_AT_THE_END = bytes_format(";<e>")


def test_an_empty_response_is_all_insertion(chat: ChatFormat) -> None:
    pair = weighed(chat, "", "ab")
    assert pair.response_classes == (E,)
    assert pair.revision_classes == (I, I, E)


def test_an_empty_response_cut_by_generation_has_no_token_at_all(chat: ChatFormat) -> None:
    pair = weighed(chat, "", "ab", response_finish=FinishReason.LENGTH)
    assert pair.response_ids == pair.response_classes == ()
    assert pair.revision_classes == (I, I)


def test_a_response_of_whitespace_has_no_ends_to_restore(chat: ChatFormat) -> None:
    pair = weighed(chat, " \n", "ab")
    assert pair.response_classes == (S, S, E)
    assert pair.revision_ids == chat.response_ids("ab") + chat.end_of_turn_ids


def test_texts_that_differ_but_have_the_same_ids_are_identical() -> None:
    composed, decomposed = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    normalizing = bytes_format("<e>", normalizers.NFC())
    assert weigh(normalizing, composed, decomposed) == SkippedPair(
        "pair", "response and revision are identical"
    )


@pytest.mark.parametrize(
    ("response", "revision", "changes", "reason"),
    [
        ("abc", "abc", {}, "identical"),
        (" abc", "abc\n", {}, "identical"),
        ("", "", {}, "empty"),
        ("", " ", {}, "empty"),
        (" \n", " \n", {}, "empty"),
        ("abc", "", {}, "empty"),
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


def test_half_a_character_at_the_end_of_a_cut_response_is_not_an_edit(chat: ChatFormat) -> None:
    generated = chat.response_ids("abc🙂")[:-2]
    response = chat.decode(generated)
    pair = weighed(chat, response, "axc", response_finish=FinishReason.LENGTH, response_token_ids=generated)
    assert pair.response_classes == pair.revision_classes == (K, S, K)
    assert not pair.canonical


def test_half_a_character_in_the_middle_changes_only_its_own_tokens(chat: ChatFormat) -> None:
    half = chat.response_ids("🙂")[:2]
    response = chat.decode(chat.response_ids("ab") + half + chat.response_ids("cd"))
    pair = weighed(chat, response, "abcd")
    assert pair.response_classes == (K, K, D, D, D, K, K, E)  # the three bytes of U+FFFD
    assert pair.revision_classes == (K, K, K, K, E)


@pytest.mark.parametrize("spaces", ["prepended", "first", "always", "kept"])
@pytest.mark.parametrize("answer", [" ' + m.content + '", "\n' + m.content + '"])
def test_a_space_that_the_tokenizer_puts_before_a_text_is_not_an_edit(spaces: Spaces, answer: str) -> None:
    chat = plain_format(spaces, "{% for m in messages %}{{ 'a:" + answer + "</s>' }}{% endfor %}")
    for response in ("it is my lamp?", " it is my lamp?"):
        pair = weighed(chat, response, "it is your lamp?")
        edited = [
            token
            for token, kind in zip(tokens(chat, pair.response_ids), pair.response_classes, strict=True)
            if kind in (S, D)
        ]
        assert "".join(edited) in ("▁my", "my")
        assert pair.response_ids[0] == pair.revision_ids[0]


@pytest.mark.parametrize("name", STYLES)
def test_in_every_style_an_edit_is_the_word_that_was_changed(name: str) -> None:
    chat = styled(name)
    pair = weighed(chat, "it is my lamp?", "it is the lamp?", max_length=500)
    for ids, classes in (
        (pair.response_ids, pair.response_classes),
        (pair.revision_ids, pair.revision_classes),
    ):
        end = len(chat.end_of_turn_ids)
        assert (ids[-end:], classes[-end:]) == (chat.end_of_turn_ids, (E,) * end)
        kept = [token for token, kind in zip(tokens(chat, ids), classes, strict=True) if kind == K]
        assert "".join(kept).translate({ord(space): None for space in "▁Ġ"}) == "itislamp?"


def test_generated_ids_that_differ_from_the_texts_are_reported_and_not_compared() -> None:
    chat = plain_format("prepended", "{% for m in messages %}{{ ' ' + m.content + '</s>' }}{% endfor %}")
    other = ids_of(chat, "▁", "l", "a", "m", "p", "?")
    text = chat.decode(other)
    pairs = {
        generated: weighed(chat, text, "any lamp?", response_token_ids=generated)
        for generated in (chat.response_ids(text), other)
    }
    assert [pair.canonical for pair in pairs.values()] == [True, False]
    assert len({pair.response_classes for pair in pairs.values()}) == 1
    assert pairs[other].response_ids == ids_of(chat, "▁lamp?", "</s>")


def test_one_bad_pair_does_not_stop_the_others(chat: ChatFormat) -> None:
    def texts(name: str, role: str) -> AdmittedPair:
        messages = (Message(role, "hi"),)
        return AdmittedPair(name, messages, "abc", FinishReason.STOP, (), "abx", None, 0.0, 1.0)

    pairs = [texts("first", "user"), texts("bad", "tool"), texts("last", "user")]
    results = list(weigh_pairs(chat, pairs, scheme=levenshtein, max_length=50))
    assert [result.pair_id for result in results] == ["first", "bad", "last"]
    assert [isinstance(result, SkippedPair) for result in results] == [False, True, False]


def test_without_a_reference_there_are_no_reference_ids(chat: ChatFormat) -> None:
    for none in (None, ""):
        assert weighed(chat, "abc", "axc", reference_text=none).reference_ids == ()


def test_one_token_of_room_is_enough(chat: ChatFormat) -> None:
    pair = weighed(chat, "abc", "xbc", max_length=PROMPT + 1)
    assert (pair.response_classes, pair.revision_classes) == ((S,), (S,))


@pytest.mark.parametrize(("before", "after", "gain"), [(-1.0, 2.0, 3.0), (2.0, 2.5, 0.5), (-4.0, -3.0, 1.0)])
def test_a_pair_is_scaled_by_the_reward_that_its_revision_gained(
    chat: ChatFormat, before: float, after: float, gain: float
) -> None:
    rewards = {"response_reward": before, "revision_reward": after}
    assert weighed(chat, "abc", "axc", scheme=reward_scaled, **rewards).scale == gain
    assert weighed(chat, "abc", "axc", **rewards).scale == 1.0


@pytest.mark.parametrize(
    ("before", "after"), [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (1.0, float("nan"))]
)
def test_a_pair_without_a_gain_or_with_nan_is_skipped(chat: ChatFormat, before: float, after: float) -> None:
    skipped = weigh(chat, "abc", "axc", scheme=reward_scaled, response_reward=before, revision_reward=after)
    assert skipped == SkippedPair("pair", "the revision's reward is not above the response's")
