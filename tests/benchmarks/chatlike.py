"""Random pairs like chat data: short prompts, answers with a long tail, edits in short runs.

Every step has the same quantiles of the length distribution, in random order, so all steps are the same
amount of work and a contender may be timed on fewer steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from figa_core.records import EditClass, WeighedPair
from figa_core.shards.write import write_shards
from figa_core.training.batches import step_pairs
from figa_core.weighting.alignment import edit_classes
from tests.benchmarks.bare_pairs import BarePair, Ids
from tests.benchmarks.models import END_ID
from tests.benchmarks.spec import LOOP_SEED

_FIRST_ID = 2
_PROMPT_MEDIAN, _PROMPT_SIGMA, _PROMPT_RANGE = 60, 0.4, (8, 192)
_ANSWER_SIGMA, _ANSWER_RANGE = 0.7, (16, 1024)
_RUN_MEAN = 3
_OPERATIONS = ("substitute", "insert", "delete")
_OPERATION_SHARES = (0.7, 0.15, 0.15)


@dataclass(frozen=True, slots=True)
class ChatLike:
    """`edited` is the share of the response's tokens in edit runs, `answer_median` a length in tokens.

    With a `prompt_share` that is the length of prompt and response together, and the prompt is that share.
    """

    vocabulary: int
    edited: float
    answer_median: float
    prompt_share: float | None = None


def draw_steps(settings: ChatLike, *, steps: int, pairs_per_step: int) -> list[list[BarePair]]:
    """The pairs of each step in order of arrival."""
    rng = np.random.default_rng([0, int(settings.edited * 1000)])
    lengths = quantile_lengths(settings, pairs_per_step)
    return [[draw_pair(settings, rng, int(n)) for n in rng.permutation(lengths)] for _ in range(steps)]


def quantile_lengths(settings: ChatLike, count: int) -> npt.NDArray[np.int64]:
    """Response lengths at the quantiles (i + 1/2) / `count` of the clipped log-normal distribution."""
    normal = NormalDist(np.log(settings.answer_median), _ANSWER_SIGMA)
    quantiles = [normal.inv_cdf((i + 0.5) / count) for i in range(count)]
    return np.clip(np.exp(quantiles), *_ANSWER_RANGE).round().astype(np.int64)


def draw_pair(settings: ChatLike, rng: np.random.Generator, length: int) -> BarePair:
    """One pair with a response, or a sequence, of that many tokens."""
    if settings.prompt_share is not None:
        prompt = max(round(settings.prompt_share * length), 1)
        return pair_of(settings, rng, prompt, max(length - prompt, 4))
    prompt_length = _PROMPT_MEDIAN * np.exp(_PROMPT_SIGMA * rng.standard_normal())
    return pair_of(settings, rng, int(np.clip(prompt_length, *_PROMPT_RANGE)), length)


def pair_of(
    settings: ChatLike, rng: np.random.Generator, prompt_length: int, response_length: int
) -> BarePair:
    """One pair with a prompt and a response of so many tokens."""
    prompt = draw_ids(settings, rng, prompt_length)
    response = draw_ids(settings, rng, response_length)
    revision = _revise(settings, rng, response)
    return BarePair(prompt, (*response, END_ID), (*revision, END_ID))


def draw_ids(settings: ChatLike, rng: np.random.Generator, count: int) -> Ids:
    """Ids by Zipf's law, like words; never padding or the end of turn."""
    ranks = np.searchsorted(_zipf_cdf(settings.vocabulary - _FIRST_ID), rng.random(count))
    return tuple((ranks + _FIRST_ID).tolist())


def with_classes(pair: BarePair, pair_id: str) -> WeighedPair:
    """The record that the weigh stage would store."""
    response, revision = edit_classes(pair.response_ids[:-1], pair.revision_ids[:-1])
    end = (int(EditClass.END_OF_TURN),)
    return WeighedPair(
        pair_id=pair_id,
        prompt_ids=pair.prompt_ids,
        response_ids=pair.response_ids,
        response_classes=response + end,
        revision_ids=pair.revision_ids,
        revision_classes=revision + end,
        reference_ids=(),
        response_reward=0.0,
        revision_reward=1.0,
    )


def write_step_shards(directory: Path, steps: Sequence[Sequence[BarePair]]) -> None:
    """A shard set from which the training loop, with `LOOP_SEED`, draws these steps in this order."""
    ordered = loop_order(steps)
    write_shards(
        directory,
        (with_classes(pair, f"pair-{index}") for index, pair in enumerate(ordered)),
        shard_set_id=f"bench-{directory.name}",
        tokenizer_hash="none",
        template_hash="none",
        scheme="levenshtein",
        max_length=max(len(p.prompt_ids) + max(len(p.response_ids), len(p.revision_ids)) for p in ordered),
        pairs_per_shard=1000,
    )


def loop_order(steps: Sequence[Sequence[BarePair]]) -> list[BarePair]:
    """The order of the pairs in a shard set from which the training loop draws `steps`."""
    total, each = sum(map(len, steps)), len(steps[0])
    by_index: dict[int, BarePair] = {}
    for number, pairs in enumerate(steps, start=1):
        places = step_pairs(number, pairs=total, pairs_per_step=each, seed=LOOP_SEED)
        by_index.update(zip(places, pairs, strict=True))
    return [by_index[index] for index in range(total)]


def _revise(settings: ChatLike, rng: np.random.Generator, response: Ids) -> Ids:
    """The response with runs of edits at random places and kept tokens between them."""
    runs = list(_runs(rng, max(1, round(settings.edited * len(response)))))
    consumed = sum(length for operation, length in runs if operation != "insert")
    kept = max(len(response) - consumed, len(runs))
    places = iter(np.sort(rng.choice(kept + 1, len(runs), replace=False)).tolist())
    revision: list[int] = []
    read = kept_so_far = 0
    for operation, length in runs:
        between = next(places) - kept_so_far
        kept_so_far += between
        revision += response[read : read + between]
        read += between + (0 if operation == "insert" else length)
        revision += () if operation == "delete" else draw_ids(settings, rng, length)
    return (*revision, *response[read:])


def _runs(rng: np.random.Generator, edited: int) -> Iterator[tuple[str, int]]:
    while edited > 0:
        length = min(int(rng.geometric(1 / _RUN_MEAN)), edited)
        edited -= length
        yield str(rng.choice(_OPERATIONS, p=_OPERATION_SHARES)), length


@lru_cache(maxsize=4)
def _zipf_cdf(count: int) -> npt.NDArray[np.float64]:
    weights = 1 / (np.arange(count) + 2.7)
    return np.cumsum(weights) / weights.sum()
