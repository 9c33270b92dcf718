"""The weigh stage for one admitted pair: from texts to token ids and edit classes.

Edits are computed on the canonical tokenization of both texts: a model may have emitted other ids for the
same text, which would show as edits. An end of turn of several tokens is never cut in the middle.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from figa_core.chat.format import ChatFormat
from figa_core.chat.turn import Ids
from figa_core.records import AdmittedPair, EditClass, FinishReason, WeighedPair
from figa_core.revision.words import restore_ends
from figa_core.weighting.alignment import Classes
from figa_core.weighting.graded import NO_CHANGE_MATTERS, ONLY_DELETES, regrade
from figa_core.weighting.schemes import PairEdits, Scheme

_Weights = tuple[PairEdits, tuple[float, ...] | None]
"""The edits of a pair, and the factors of α at the tokens of Ỹ; None for 1 at all of them."""

_ADDED = {EditClass.INSERTED, EditClass.SUBSTITUTED}
_EDITED = {*_ADDED, EditClass.DELETED}


@dataclass(frozen=True, slots=True)
class SkippedPair:
    """A pair that cannot be trained on, and why."""

    pair_id: str
    reason: str


def weigh_pairs(
    chat: ChatFormat,
    pairs: Sequence[AdmittedPair],
    *,
    scheme: Scheme,
    max_length: int,
    highest_score: int | None = None,
    with_thoughts: bool = True,
) -> Iterator[WeighedPair | SkippedPair]:
    """Yield one result for each pair of a batch, in order; a few hundred pairs tokenize well together.

    With a `highest_score`, the words' scores decide the weights of the pairs that have them (`graded.py`).

    Rules (`max_length` counts prompt and answer in tokens):

    * What the model thought before Ŷ comes after the prompt and before every answer, and has no weight; with
      `with_thoughts` false it is left out.
    * The end of turn follows an answer, unless it was cut: by generation (then its revision has none either,
      because a revision of half an answer is half an answer) or by `max_length`.
    * An answer too long for `max_length` is cut at its end, and so are its classes.
    * Skipped, with the reason: a prompt that leaves no room or that the template refuses, identical texts, an
      empty revision, a pair without an edit within `max_length`, a scale that is not positive; if an LLM
      grades, a revision that only deletes, and one whose changes all have the score 0.
    """
    prompts = chat.prompt_ids_or_reasons([pair.messages for pair in pairs])
    revised_texts = [restore_ends(pair.response_text, pair.revision_text) for pair in pairs]
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
            edits = scheme(response, revision, pair.revision_reward - pair.response_reward)
            weights: _Weights | str = edits, None
            if highest_score is not None:
                weights = _by_scores(chat, pair, revised_text, edits, highest_score)
            if isinstance(weights, str):
                yield SkippedPair(pair.pair_id, weights)
            else:
                before = prompt + pair.thought_ids if with_thoughts else prompt
                yield _weigh(chat, pair, (before, response, revision, reference), weights, max_length)


def _by_scores(
    chat: ChatFormat, pair: AdmittedPair, revised_text: str, edits: PairEdits, highest: int
) -> _Weights | str:
    """The weights by the scores of the pair's words, as they were without scores, or why it is left out."""
    if _ADDED.isdisjoint(edits.revision_classes):
        return ONLY_DELETES
    if pair.word_scores is None:
        return edits, None
    if not any(pair.word_scores):
        return NO_CHANGE_MATTERS
    return regrade(edits, revised_text, chat.response_spans(revised_text), pair.word_scores, highest)


def _weigh(
    chat: ChatFormat, pair: AdmittedPair, ids: tuple[Ids, Ids, Ids, Ids], weights: _Weights, max_length: int
) -> WeighedPair | SkippedPair:
    prompt, response, revision, reference = ids
    room = max_length - len(prompt)
    if not prompt or room < 1:
        what = "the prompt with the thought" if pair.thought_ids else "the prompt"
        reason = f"{what} has {len(prompt)} tokens, which leaves no room in max_length={max_length}"
        return SkippedPair(pair.pair_id, reason)
    canonical = pair.response_token_ids == response
    (response_classes, revision_classes, scale), factors = weights
    if not scale > 0:  # NaN included
        return SkippedPair(pair.pair_id, "the revision's reward is not above the response's")
    end = chat.end_of_turn_ids if pair.response_finish is FinishReason.STOP else ()
    response, response_classes = _close(response, response_classes, end, room)
    revision, revision_classes = _close(revision, revision_classes, end, room)
    reference, _ = _close(reference, (0,) * len(reference), chat.end_of_turn_ids if reference else (), room)
    if _EDITED.isdisjoint((*response_classes, *revision_classes)):
        reason = f"no edit within max_length={max_length} tokens of prompt and answer"
        return SkippedPair(pair.pair_id, reason)
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
        revision_factors=factors and (factors + (1.0,) * len(end))[: len(revision)],
    )


def _close(ids: Ids, classes: Classes, end_of_turn: Ids, room: int) -> tuple[Ids, Classes]:
    """Append the end of turn if it fits; otherwise cut the answer to `room`, without an end of turn."""
    if len(ids) + len(end_of_turn) <= room:
        return ids + end_of_turn, classes + (int(EditClass.END_OF_TURN),) * len(end_of_turn)
    return ids[:room], classes[:room]
