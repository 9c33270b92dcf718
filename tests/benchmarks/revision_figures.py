"""Shares and rates from the teacher's logs."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.benchmarks.figures import Spread
from tests.benchmarks.revision_side import Request

_PIECES = 10


def share_of_limit(
    requests: Sequence[Request], per_minute: float, seconds: float, sizes: Mapping[str, int] | None = None
) -> Spread:
    """Answered requests (with `sizes`: their tokens) in the first `seconds`, as a share of the limit.

    The share of the whole period, and the smallest and largest of its ten pieces. `seconds` must be whole
    windows of the server, so that no burst gives a share above 1.
    """
    done = [0.0] * _PIECES
    for request in requests:
        if request.answered and request.at_s < seconds:
            done[int(request.at_s / seconds * _PIECES)] += 1 if sizes is None else sizes[request.sha]
    permitted = per_minute * seconds / 60
    pieces = [_PIECES * piece / permitted for piece in done]
    return Spread(sum(done) / permitted, min(pieces), max(pieces))


def count_429(requests: Sequence[Request], seconds: float = float("inf")) -> int:
    """Requests in the first `seconds` that were refused because of the rate."""
    return sum(not request.answered and request.at_s < seconds for request in requests)


def count_repeated(requests: Sequence[Request]) -> int:
    """Answers to rows that had an answer already: paid for twice."""
    counts = Counter(request.sha for request in requests if request.answered)
    return counts.total() - len(counts)


def rows_per_second(requests: Sequence[Request], latency_s: float) -> float:
    """Answered rows per second, from the first request to the last answer."""
    answered = [request for request in requests if request.answered]
    return len(answered) / (answered[-1].at_s + latency_s)
