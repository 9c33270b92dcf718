"""The results of the revision benchmark: a table, and a flat object of numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rich.table import Table

from tests.benchmarks.figures import Spread, spread
from tests.benchmarks.revision_spec import Kind

_ZERO = Spread(0.0, 0.0, 0.0)
_NAMES: dict[Kind, str] = {
    "ours": "ours",
    "bare": "bare openai,\naiohttp",
    "bare_httpx": "bare openai,\nhttpx2",
    "curator": "curator\n0.1.31",
    "distilabel": "distilabel\n1.5.3",
}


@dataclass(slots=True)
class Findings:
    """Shares are of the server's limit; mappings are by contender."""

    kinds: tuple[Kind, ...]
    rate_share: Spread = _ZERO
    tokens_share: Spread = _ZERO
    count_429: int = 0
    rate_share_misconfigured: Spread = _ZERO
    share_429_misconfigured: float = 0.0
    beside_share: dict[Kind, Spread] = field(default_factory=dict)
    beside_429: dict[Kind, int] = field(default_factory=dict)
    rates: dict[Kind, list[float]] = field(default_factory=dict)
    cpu_ms: dict[Kind, list[float]] = field(default_factory=dict)
    lost: dict[Kind, int] = field(default_factory=dict)
    repeated: dict[Kind, int] = field(default_factory=dict)
    rss_mb_few: float = 0.0
    rss_mb_most: float = 0.0
    other_cores: float = 0.0

    def figures(self) -> dict[str, float]:
        """Ours first, then ratios of medians, then the figures of every contender."""
        cpu = {kind: spread(values) for kind, values in self.cpu_ms.items()}
        named = {
            **self.rate_share.named("rate_share"),
            **self.tokens_share.named("tokens_share"),
            "count_429": self.count_429,
            **self.rate_share_misconfigured.named("rate_share_misconfigured"),
            "share_429_misconfigured": self.share_429_misconfigured,
            "rss_mb_1k": self.rss_mb_few,
            "rss_growth_mb_1k_to_100k": self.rss_mb_most - self.rss_mb_few,
            "cpu_ratio_vs_bare": cpu["ours"].median / cpu["bare"].median,
            "other_work_cores_max": self.other_cores,
        }
        for kind, value in cpu.items():
            named |= value.named("cpu_ms_per_row" + ("" if kind == "ours" else f"_{kind}"))
        return named | dict(self._beside())

    def _beside(self) -> Iterator[tuple[str, float]]:
        for kind, values in self.rates.items():
            yield from spread(values).named(f"rows_per_second_{kind}").items()
        for kind in self.kinds:
            if kind != "ours":
                yield f"ratio_vs_{kind}", spread(self.rates["ours"]).median / spread(self.rates[kind]).median
            yield f"rate_share_3000_{kind}", self.beside_share[kind].median
            yield f"count_429_3000_{kind}", self.beside_429[kind]
            yield f"rows_lost_{kind}", self.lost[kind]
            yield f"calls_repeated_{kind}", self.repeated[kind]


def table(found: Findings) -> Table:
    """A column for each contender."""
    kinds: list[Kind] = [kind for kind in _NAMES if kind in found.rates]
    shown = Table("what", title="revision: on a local server; min and max of repeats, or of ten pieces")
    for kind in kinds:
        shown.add_column(_NAMES[kind], justify="right", no_wrap=True)

    def add(what: str, values: Mapping[Kind, str], *, last: bool = False) -> None:
        shown.add_row(what, *(values.get(kind, "") for kind in kinds), end_section=last)

    add("share of 6 000 requests/min", {"ours": str(found.rate_share)})
    add("share of as many requests' tokens", {"ours": str(found.tokens_share)})
    add("429s in both", {"ours": str(found.count_429)})
    add("setting twice the limit: share of the limit", {"ours": str(found.rate_share_misconfigured)})
    add("429s of its requests", {"ours": f"{found.share_429_misconfigured:.2%}"}, last=True)
    add("rows/s, no limit, 0.1 s latency", {kind: str(spread(v)) for kind, v in found.rates.items()})
    add("CPU ms/row", {kind: str(spread(v)) for kind, v in found.cpu_ms.items()}, last=True)
    add("share of 3 000 requests/min", {kind: str(value) for kind, value in found.beside_share.items()})
    add("429s", {kind: str(value) for kind, value in found.beside_429.items()})
    add("kill -9: rows lost", {kind: str(value) for kind, value in found.lost.items()})
    add("calls repeated on restart", {kind: str(value) for kind, value in found.repeated.items()}, last=True)
    add(
        "resident MB after 1 k rows; most up to 100 k",
        {"ours": f"{found.rss_mb_few:.0f}; {found.rss_mb_most:.0f}"},
    )
    return shown
