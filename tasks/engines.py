"""Measures the size of a stage's work, by which an engine is chosen."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from statistics import fmean
from typing import TypeVar

_SAMPLE_ROWS = 256
_T = TypeVar("_T")


def sampled_length(
    requests: Iterable[_T], token_ids: Callable[[_T], Sequence[int]]
) -> tuple[float, Iterator[_T]]:
    """The mean number of tokens of the first requests (0 without any), and all requests."""
    rows = iter(requests)
    first = list(islice(rows, _SAMPLE_ROWS))
    mean = fmean(len(token_ids(row)) for row in first) if first else 0.0
    return mean, chain(first, rows)
