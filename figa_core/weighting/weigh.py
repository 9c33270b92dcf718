"""The weigh stage for one admitted pair: texts in, token ids and edit classes out.

Edits are computed on the canonical tokenization of both texts: a model may have emitted other ids for the
same text, and those would show as edits nobody made. An end of turn of several tokens is there whole or not
at all: cut in the middle, it is no end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from figa_core.chat.format import ChatFormat
from figa_core.chat.turn import Ids
from figa_core.records import EditClass, FinishReason, Message, WeighedPair
from figa_core.weighting.alignment import Classes
from figa_core.weighting.schemes import Scheme


@dataclass(frozen=True, slots=True)
class PairTexts:
    """One admitted pair as texts: Ŷ with the reason its generation ended, Ỹ, and Y where there is one.

    `generated_ids` are the ids the model emitted for Ŷ, without a stop token; None where they are not known.
    """

    pair_id: str
    messages: tuple[Message, ...]
    response_text: str
    response_finish: FinishReason
    revision_text: str
    reference_text: str | None
    response_reward: float
    revision_reward: float
    generated_ids: Ids | None = None


@dataclass(frozen=True, slots=True)
class SkippedPair:
    """A pair that cannot be trained on, and why."""

    pair_id: str
    reason: str


def restore_whitespace(response_text: str, revision_text: str) -> str:
    """The revision with the response's whitespace at both ends: revisers strip it, and that is no edit.

    A response of nothing but whitespace has no ends to restore.
    """
    core = revision_text.strip()
    if not core or not response_text.strip():
        return core
    leading = response_text[: len(response_text) - len(response_text.lstrip())]
    trailing = response_text[len(response_text.rstrip()) :]
    return leading + core + trailing


def weigh_pairs(
    chat: ChatFormat, pairs: Sequence[PairTexts], *, scheme: Scheme, max_length: int
) -> Iterator[WeighedPair | SkippedPair]:
    """Weigh a batch of pairs (a few hundred tokenize well together), in order, one result for each.

    Rules (`max_length` counts prompt and answer in tokens):

    * An answer is followed by the end of turn, unless it was cut: by generation (then the revision of it has
      none either, since a revision of half an answer is half an answer) or by `max_length`.
    * An answer too long for `max_length` loses its end; classes come from the whole texts and are cut too.
    * Skipped, with the reason: a prompt that leaves no room or that the template refuses, identical texts, an
      empty revision, a pair none of whose edits is left within `max_length`, a scale that is not positive.
    """
    prompts = chat.prompt_ids_or_reasons([pair.messages for pair in pairs])
    revised_texts = [restore_whitespace(pair.response_text, pair.revision_text) for pair in pairs]
    responses = chat.response_ids_batch([pair.response_text for pair in pairs])
    revisions = chat.response_ids_batch(revised_texts)
    references = chat.response_ids_batch([pair.reference_text or "" for pair in pairs])
    rows = zip(pairs, prompts, revised_texts, responses, revisions, references, strict=True)
    for pair, prompt, revised_text, response, revision, reference in rows:
        if isinstance(prompt, str):
            yield SkippedPair(pair.pair_id, prompt)
        elif not revised_text:
            yield SkippedPair(pair.pair_id, "the revision is empty")
        elif revised_text == pair.response_text or response == revision:
            yield SkippedPair(pair.pair_id, "response and revision are identical")
        else:
            yield _weigh(chat, pair, prompt, response, revision, reference, scheme, max_length)


def _weigh(
    chat: ChatFormat,
    pair: PairTexts,
    prompt: Ids,
    response: Ids,
    revision: Ids,
    reference: Ids,
    scheme: Scheme,
    max_length: int,
) -> WeighedPair | SkippedPair:
    room = max_length - len(prompt)
    if not prompt or room < 1:
        return SkippedPair(
            pair.pair_id,
            f"the prompt has {len(prompt)} tokens, which leaves no room in max_length={max_length}",
        )
    canonical = pair.generated_ids is None or pair.generated_ids == response
    response_classes, revision_classes, scale = scheme(
        response, revision, pair.revision_reward - pair.response_reward
    )
    if not scale > 0:  # NaN included
        return SkippedPair(pair.pair_id, "the revision's reward is not above the response's")
    end = chat.end_of_turn_ids if pair.response_finish is FinishReason.STOP else ()
    response, response_classes = _close(response, response_classes, end, room)
    revision, revision_classes = _close(revision, revision_classes, end, room)
    reference, _ = _close(reference, (0,) * len(reference), chat.end_of_turn_ids if reference else (), room)
    edits = (EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.DELETED)
    if not any(token_class in edits for token_class in (*response_classes, *revision_classes)):
        return SkippedPair(
            pair.pair_id, f"no edit within max_length={max_length} tokens of prompt and answer"
        )
    return WeighedPair(
        pair_id=pair.pair_id,
        prompt_ids=prompt,
        response_ids=response,
        response_classes=response_classes,
        revision_ids=revision,
        revision_classes=revision_classes,
        reference_ids=reference,
        response_reward=pair.response_reward,
        revision_reward=pair.revision_reward,
        scale=scale,
        canonical=canonical,
    )


def _close(ids: Ids, classes: Classes, end_of_turn: Ids, room: int) -> tuple[Ids, Classes]:
    """Append the end of turn where it fits; cut at the end, without an end of turn, where it does not."""
    if len(ids) + len(end_of_turn) <= room:
        return ids + end_of_turn, classes + (int(EditClass.END_OF_TURN),) * len(end_of_turn)
    return ids[:room], classes[:room]
