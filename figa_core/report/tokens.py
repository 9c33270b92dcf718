"""Converts token ids and their edit classes to spans of text that can be coloured.

Tokens cannot be decoded one by one: a character may need several, and tokenizers add or drop leading spaces.
So growing prefixes are decoded, and each token gets the text that it adds to its prefix, as far as that
agrees with the whole text.
"""

from collections.abc import Callable, Sequence

from figa_core.records import EditClass, Message, WeighedPair
from figa_core.report.data import Example, Span

Decode = Callable[[list[int]], str]
"""Token ids → text, such as `lambda ids: tokenizer.decode(ids, skip_special_tokens=False)`."""


def token_pieces(token_ids: Sequence[int], decode: Decode) -> list[str]:
    """One text per token; joined they are the decoded whole.

    A token that ends inside a character has no text; the character belongs to the token that completes it.
    This decodes len(token_ids) prefixes, so it suits the few examples of a report, not a data set.
    """
    return texts_between(token_ids, range(1, len(token_ids) + 1), decode)


def texts_between(token_ids: Sequence[int], ends: Sequence[int], decode: Decode) -> list[str]:
    """The texts of the stretches of tokens that end at `ends`, which ascend up to len(token_ids).

    Joined they are the decoded whole; a character belongs to the stretch that completes it. This decodes one
    prefix for each stretch.
    """
    ids = list(token_ids)
    whole = decode(ids)
    texts, start = [], 0
    for place in ends:
        end = len(whole) if place == len(ids) else _agreement(decode(ids[:place]), whole)
        end = max(end, start)
        texts.append(whole[start:end])
        start = end
    return texts


def ends_within_a_character(token_ids: Sequence[int], place: int, decode: Decode) -> bool:
    """Whether the text of the first `place` tokens is not a beginning of the whole text."""
    ids = list(token_ids)
    return place < len(ids) and not decode(ids).startswith(decode(ids[:place]))


def _agreement(prefix: str, whole: str) -> int:
    """The length of the common prefix."""
    if whole.startswith(prefix):
        return len(prefix)
    return next((i for i, (a, b) in enumerate(zip(prefix, whole, strict=False)) if a != b), len(whole))


def merge_spans(pieces: Sequence[str], classes: Sequence[int]) -> tuple[Span, ...]:
    """Join neighbours of one edit class. A character whose tokens differ counts as edited.

    Raises ValueError if `pieces` and `classes` differ in length, or a class is unknown.
    """
    if len(pieces) != len(classes):
        raise ValueError(
            f"{len(pieces)} tokens but {len(classes)} edit classes; both must come from one pair"
        )
    spans: list[Span] = []
    carried, carried_tokens = EditClass.KEPT, 0
    for piece, number in zip(pieces, classes, strict=True):
        edit = EditClass(number)
        carried = edit if edit is not EditClass.KEPT else carried
        carried_tokens += 1
        if not piece:
            continue
        _append(spans, Span(piece, carried, carried_tokens))
        carried, carried_tokens = EditClass.KEPT, 0
    if carried_tokens:  # without text: an end of turn, because the decoder skips special tokens
        _append(spans, Span("", carried, carried_tokens))
    return tuple(spans)


def _append(spans: list[Span], span: Span) -> None:
    if spans and spans[-1].edit is span.edit:
        last = spans.pop()
        span = Span(last.text + span.text, span.edit, last.tokens + span.tokens)
    spans.append(span)


def spans_of(token_ids: Sequence[int], classes: Sequence[int], decode: Decode) -> tuple[Span, ...]:
    """The spans of one side of a pair: the ids and classes of the response, or of the revision."""
    return merge_spans(token_pieces(token_ids, decode), classes)


def example_of(
    pair: WeighedPair,
    decode: Decode,
    *,
    messages: Sequence[Message],
    reference: str | None = None,
    reference_reward: float | None = None,
    kind: str | None = None,
) -> Example:
    """A weighed pair as an example; prompt, its `kind` and reference come from the prompt's record."""
    return Example(
        messages=tuple(messages),
        initial=spans_of(pair.response_ids, pair.response_classes, decode),
        revised=spans_of(pair.revision_ids, pair.revision_classes, decode),
        initial_reward=pair.response_reward,
        revised_reward=pair.revision_reward,
        reference=reference,
        reference_reward=reference_reward,
        type=kind,
    )
