"""What a method costs: tokens, floating-point operations, seconds, memory and dollars.

A forward pass takes about 2 operations for each parameter and token, a backward pass twice as many: 6 · N · D
for training on D tokens, 2 · N · D for a pass without gradients (Kaplan et al. 2020, arXiv 2001.08361,
section 2.1; Hoffmann et al. 2022, arXiv 2203.15556, appendix F). N counts all parameters. Attention over long
texts comes on top, and positions whose vocabulary projection is left out come off: these are estimates.
"""

from dataclasses import dataclass, fields


def training_flops(parameters: int, tokens: float, *, frozen: bool = False) -> float:
    """Of forward and backward passes over `tokens`; of `frozen` weights there is no gradient (LoRA)."""
    return (4.0 if frozen else 6.0) * parameters * tokens


def forward_flops(parameters: int, tokens: float) -> float:
    """Of passes without gradients: sampling, rewards, a reference model's log-probabilities."""
    return 2.0 * parameters * tokens


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens through a model, operations, wall seconds, and the largest memory of a process group in bytes.

    A sum has the largest memory of its parts.
    """

    tokens: float = 0.0
    flops: float = 0.0
    seconds: float = 0.0
    peak_bytes: int = 0
    usd: float | None = None

    def __add__(self, other: "Cost") -> "Cost":
        usd = [cost for cost in (self.usd, other.usd) if cost is not None]
        return Cost(
            tokens=self.tokens + other.tokens,
            flops=self.flops + other.flops,
            seconds=self.seconds + other.seconds,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
            usd=sum(usd) if usd else None,
        )

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


NOTHING = Cost()


def mean_cost(costs: "list[Cost]") -> Cost:
    """The mean of each figure, and the largest memory; nothing for an empty list."""
    total = sum(costs, Cost())
    count = max(len(costs), 1)
    usd = None if total.usd is None else total.usd / count
    return Cost(total.tokens / count, total.flops / count, total.seconds / count, total.peak_bytes, usd)
