"""The funnel: how many rows reached each step of a run, and why the others did not.

No row vanishes: rows that are neither in the next step nor dropped with a reason are shown as such. A step
may have more rows than the one before (several samples per prompt).
"""

from dataclasses import dataclass

UNACCOUNTED = "not processed yet, or no reason recorded"
_BAR_WIDTH = 24
_EMPTY = "No rows have entered this run yet."


@dataclass(frozen=True, slots=True)
class Drop:
    """The number of rows that were dropped for one reason."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One step: its name ("kept"), the number of rows that reached it, and the rows dropped before it."""

    name: str
    count: int
    drops: tuple[Drop, ...] = ()


@dataclass(frozen=True, slots=True)
class Funnel:
    """The steps in order, usually prompts, responses, kept, revised, admitted, weighted."""

    steps: tuple[FunnelStep, ...]

    def rows(self) -> list["FunnelRow"]:
        """Each step with its share of the step before, and with every lost row accounted for."""
        widest = max((step.count for step in self.steps), default=0) or 1
        rows = []
        for previous, step in zip((None, *self.steps), self.steps, strict=False):
            drops = sorted(step.drops, key=lambda drop: (-drop.count, drop.reason))
            missing = previous.count - step.count - sum(d.count for d in drops) if previous else 0
            if missing > 0:
                drops.append(Drop(UNACCOUNTED, missing))
            share, width = _share(step.count, previous), step.count / widest
            rows.append(FunnelRow(step.name, step.count, share, width, tuple(drops)))
        return rows


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """A step ready to be shown; `width` is its count as a share (0 to 1) of the largest step."""

    name: str
    count: int
    share: str
    width: float
    drops: tuple[Drop, ...]


def _share(count: int, previous: FunnelStep | None) -> str:
    """Such as "48.2 % of responses", or "4.0 × prompts" if a step multiplies rows."""
    if previous is None or previous.count == 0:
        return ""
    if count > previous.count:
        return f"{count / previous.count:.1f} × {previous.name}"
    return f"{100 * count / previous.count:.1f} % of {previous.name}"


def funnel_markdown(funnel: Funnel) -> str:
    """A Markdown table of the funnel, with the reasons below it, for Prefect's artifact."""
    if not funnel.steps:
        return _EMPTY
    lines = ["| step | rows | share |", "|---|---:|---|"]
    lines += [f"| {_cell(row.name)} | {row.count:,} | {_cell(row.share)} |" for row in funnel.rows()]
    dropped = [row for row in funnel.rows() if row.drops]
    if dropped:
        lines += ["", "| not in | rows | reason |", "|---|---:|---|"]
    for row in dropped:
        lines += [f"| {_cell(row.name)} | {drop.count:,} | {_cell(drop.reason)} |" for drop in row.drops]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that cannot break out of a Markdown table cell or become HTML."""
    for plain, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "'")):
        text = text.replace(plain, safe)
    return " ".join(text.split())


def funnel_lines(funnel: Funnel) -> list[str]:
    """The funnel as lines for a terminal: bars, counts, shares, and reasons indented below."""
    rows = funnel.rows()
    if not rows:
        return [_EMPTY]
    names = max(len(row.name) for row in rows)
    digits = max(len(f"{row.count:,}") for row in rows)
    lines = []
    for row in rows:
        filled = max(round(row.width * _BAR_WIDTH), 1 if row.count else 0)
        bar = "█" * filled + "·" * (_BAR_WIDTH - filled)
        lines.append(f"{row.name:<{names}}  {bar}  {row.count:>{digits},}  {row.share}".rstrip())
        for drop in row.drops:
            reason = " ".join(drop.reason.split())
            lines.append(f"{'':<{names}}  {'− ' + format(drop.count, ','):>{_BAR_WIDTH}}  {reason}")
    return lines
