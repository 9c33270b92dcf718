"""The contenders of the training benchmark, and steps for each that take a quarter of an hour together."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.benchmarks.spec import Kind

OURS, REFERENCE, TRL = "ours", "reference", "TRL, packed"
TRL_FASTEST = "TRL, padded by length"


@dataclass(frozen=True, slots=True)
class Contender:
    """A name for the table, a key for the JSON file, and settings other than the spec's defaults."""

    name: str
    key: str
    kind: Kind
    settings: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Run:
    """One process to start: contender, data set, timed steps.

    `prompts`: the prompt's share of a sequence; None for short prompts as in chats.
    """

    contender: Contender
    vocabulary: int
    edited: float
    steps: int
    prompts: float | None = None


_HALF = 0.5
_OURS = Contender(OURS, "ours", "ours")
_REFERENCE = Contender(REFERENCE, "reference", "reference")
_TRL = Contender(TRL, "trl", "trl", {"row_length": 1024})
_TRL_PADDED = Contender(TRL_FASTEST, "trl_padded", "trl", {"rows_per_batch": 4})
_LOOPS = Contender("reference, Python loops", "reference_loops", "reference", {"python_loops": True})
_LEVERS = (
    Contender("ours, full head", "full_head", "ours", {"sparse_head": False}),
    Contender("ours, tails kept", "tails_kept", "ours", {"tail_cut": False}),
    Contender("ours, padded rows by length", "padded_by_length", "ours", {"packing": False}),
    Contender(
        "ours, padded rows as they come", "padded_as_come", "ours", {"packing": False, "by_length": False}
    ),
    Contender("ours, edits at every step", "edits_recomputed", "ours", {"stored_edits": False}),
)
_NONE = Contender(
    "ours, all levers off",
    "all_off",
    "ours",
    {"sparse_head": False, "tail_cut": False, "packing": False, "by_length": False, "stored_edits": False},
)


def full_runs() -> Iterator[Run]:
    """The most important ones run in alternation, several times, because the machine's speed drifts."""
    small, large = 32_000, 128_000
    yield from (Run(_OURS, small, 0.1, 3), Run(_REFERENCE, small, 0.1, 2), Run(_TRL, small, 0.1, 1))
    yield from (Run(lever, small, 0.1, 2) for lever in _LEVERS)
    yield from (Run(_OURS, small, 0.1, 3), Run(_REFERENCE, small, 0.1, 2), Run(_TRL, small, 0.1, 1))
    yield from (Run(_NONE, small, 0.1, 1), Run(_LOOPS, small, 0.1, 1), Run(_TRL_PADDED, small, 0.1, 1))
    yield from (Run(_OURS, large, 0.1, 3), Run(_REFERENCE, large, 0.1, 1), Run(_TRL, large, 0.1, 1))
    yield from (Run(lever, large, 0.1, 1) for lever in _LEVERS[:3])
    yield from (Run(_OURS, large, 0.1, 3), Run(_REFERENCE, large, 0.1, 1), Run(_NONE, large, 0.1, 1))
    for vocabulary in (small, large):
        yield from (Run(_OURS, vocabulary, 0.3, 3), Run(_REFERENCE, vocabulary, 0.3, 1))
    for _ in range(2):
        yield from (Run(_OURS, small, 0.1, 3, _HALF), Run(_REFERENCE, small, 0.1, 2, _HALF))
        yield from (Run(_OURS, large, 0.1, 3, _HALF), Run(_REFERENCE, large, 0.1, 1, _HALF))


def gpu_runs() -> Iterator[Run]:
    """On a GPU a step takes a second or two, whatever the number of pairs; the cost of a row matters less."""
    rows = {"row_length": 2048, "rows_per_batch": 8}
    trl = replace(_TRL, settings=rows)
    for vocabulary in (32_000, 128_000):
        yield from (Run(contender, vocabulary, 0.1, 6) for contender in (_OURS, _REFERENCE, trl))
        yield from (Run(contender, vocabulary, 0.1, 4) for contender in (*_LEVERS[:3], _NONE))
        yield from (Run(contender, vocabulary, 0.3, 4) for contender in (_OURS, _REFERENCE))
        for _ in range(2):
            yield from (Run(contender, vocabulary, 0.1, 4, _HALF) for contender in (_OURS, _REFERENCE))


def quick_runs() -> Iterator[Run]:
    """A smoke run: every kind of contender once, on a tiny model."""
    for contender in (_OURS, _REFERENCE, _LOOPS, _NONE, _TRL):
        yield Run(contender, 2_000, 0.1, 2)
    yield from (Run(contender, 2_000, 0.1, 2, _HALF) for contender in (_OURS, _REFERENCE))
