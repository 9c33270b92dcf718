"""The best of a prompt's samples, for objectives that train on it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from figa_core.chat.format import ChatFormat
from figa_core.records import AdmittedPair, FinishReason, WeighedPair
from figa_core.weighting.weigh import SkippedPair


def with_best_samples(
    chat: ChatFormat,
    pairs: Sequence[AdmittedPair],
    outcomes: Iterable[WeighedPair | SkippedPair],
    *,
    max_length: int,
) -> Iterator[WeighedPair | SkippedPair]:
    """The outcomes of `weigh_pairs` for these pairs, with the ids of each pair's best sample.

    Its end of turn and its longest length are as for the other answers. Without a best sample, the ids are
    empty.
    """
    samples = chat.response_ids_batch([pair.best_text or "" for pair in pairs])
    for pair, ids, outcome in zip(pairs, samples, outcomes, strict=True):
        if isinstance(outcome, SkippedPair):
            yield outcome
            continue
        room = max_length - len(outcome.prompt_ids)
        end = chat.end_of_turn_ids if pair.best_finish is FinishReason.STOP else ()
        whole = ids + end
        yield replace(outcome, best_ids=whole if len(whole) <= room else ids[:room])
