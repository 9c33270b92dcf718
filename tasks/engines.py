"""The engines of a run, as the configuration names and sets them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from statistics import fmean
from typing import TypeVar

from figa_core.inference.engines import Engines

_SAMPLE_ROWS = 256
_T = TypeVar("_T")


@contextmanager
def lent(engines: Engines | None) -> Iterator[Engines]:
    """The run's engines; without a run, some that end with the context."""
    if engines is not None:
        yield engines
        return
    with Engines() as own:
        yield own


def sampled_length(
    requests: Iterable[_T], token_ids: Callable[[_T], Sequence[int]]
) -> tuple[float, Iterator[_T]]:
    """The mean number of tokens of the first requests (0 of none), and all requests from the first on."""
    rows = iter(requests)
    first = list(islice(rows, _SAMPLE_ROWS))
    mean = fmean(len(token_ids(row)) for row in first) if first else 0.0
    return mean, chain(first, rows)
