"""Spans hold the whole text, whatever the tokenizer does to characters."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from figa_core.records import EditClass, Message, WeighedPair
from figa_core.report.data import Span
from figa_core.report.tokens import example_of, merge_spans, spans_of, token_pieces

K, I, S, D = EditClass.KEPT, EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.DELETED  # noqa: E741


def decode_bytes(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


def _classes(count: int) -> st.SearchStrategy[list[EditClass]]:
    return st.lists(st.sampled_from([K, I, S]), min_size=count, max_size=count)


@given(st.text(max_size=30).flatmap(lambda text: st.tuples(st.just(text), _classes(len(text.encode())))))
@example(("\N{REPLACEMENT CHARACTER}", [S, K, K]))  # what a prefix that ends inside a character decodes to
def test_spans_joined_are_the_decoded_text(of: tuple[str, list[EditClass]]) -> None:
    text, classes = of
    ids = list(text.encode())
    spans = spans_of(ids, classes, decode_bytes)
    assert "".join(span.text for span in spans) == text
    assert sum(span.tokens for span in spans) == len(ids)
    assert all(a.edit is not b.edit for a, b in pairwise(spans))


@given(st.binary(max_size=20))
def test_bytes_that_are_not_text_are_shown_as_decoded(raw: bytes) -> None:
    assert "".join(token_pieces(raw, decode_bytes)) == decode_bytes(list(raw))


def test_a_character_counts_as_edited_if_any_of_its_tokens_was() -> None:
    ids = list("aéb".encode())
    assert spans_of(ids, [K, S, K, K], decode_bytes) == (Span("a", K, 1), Span("é", S, 2), Span("b", K, 1))


def test_a_leading_space_belongs_to_its_token() -> None:
    words = ["Hello", " world", "!"]
    assert token_pieces([0, 1, 2], lambda ids: "".join(words[i] for i in ids)) == words


def test_a_decoder_that_cleans_up_spaces_loses_no_text() -> None:
    words = ["do", " n't", " go"]

    def decode(ids: list[int]) -> str:
        return "".join(words[i] for i in ids).replace(" n't", "n't")

    assert "".join(token_pieces([0, 1, 2], decode)) == "don't go"


def test_an_end_of_turn_without_text_is_still_a_span() -> None:
    assert merge_spans(["a", ""], [K, EditClass.END_OF_TURN])[1] == Span("", EditClass.END_OF_TURN, 1)


def test_tokens_and_classes_of_different_pairs_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 tokens but 1 edit classes"):
        merge_spans(["a", "b"], [0])


def test_an_empty_response_has_no_spans() -> None:
    assert spans_of([], [], decode_bytes) == ()


def test_an_example_has_both_sides_and_rewards_of_its_pair() -> None:
    pair = WeighedPair("p", (), tuple(b"ab"), (K, D), tuple(b"ac"), (K, I), (), -1.0, 2.5)
    example = example_of(
        pair, decode_bytes, messages=[Message("user", "hi")], reference="r", reference_reward=3.0
    )
    assert example.initial == (Span("a", K, 1), Span("b", D, 1))
    assert example.revised == (Span("a", K, 1), Span("c", I, 1))
    assert example.gain == 3.5
