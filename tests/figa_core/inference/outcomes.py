"""The results of an engine, if no row fails."""

from collections.abc import Iterable, Sequence

from figa_core.ports import Generation, RowFailure


def generations(batches: Iterable[Sequence[Generation | RowFailure]]) -> dict[str, Generation]:
    """Samples by request id."""
    rows = [row for batch in batches for row in batch]
    assert not [row for row in rows if isinstance(row, RowFailure)]
    return {row.request_id: row for row in rows if isinstance(row, Generation)}


def rewards(batches: Iterable[Sequence[tuple[str, float] | RowFailure]]) -> dict[str, float]:
    """Rewards by subject id."""
    rows = [row for batch in batches for row in batch]
    assert not [row for row in rows if isinstance(row, RowFailure)]
    return dict(row for row in rows if not isinstance(row, RowFailure))
