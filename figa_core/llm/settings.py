"""How an endpoint is asked: plain values without a key, so that they may be printed, logged and stored."""

from dataclasses import dataclass, field

from figa_core.llm.budget import Price
from figa_core.llm.doubts import Suspicion
from figa_core.llm.health import Patience


@dataclass(frozen=True, slots=True)
class AskerSettings:
    """Limits, attempts, and what ends the run (`patience`, `suspicion`)."""

    section: str  # of the configuration, for messages
    requests_per_minute: float = 500.0  # never exceeded over any minute; nor are the tokens
    tokens_per_minute: float = 200_000.0
    max_concurrency: int = 256  # calls under way at once
    max_attempts: int = 5  # calls per question; a 429 or a failed connection does not count
    backoff_s: float = 0.5  # before the second attempt; doubles with each further one, with jitter
    asked_again_max: int = 1  # times an unfit answer is asked for again, with the reason
    leave_out: frozenset[str] = frozenset()  # fields never sent: "max_tokens", "stream"
    price: Price | None = None  # None: no cost is recorded, and no budget can hold
    drain_s: float = 15.0  # for the calls under way when the run ends early
    patience: Patience = field(default_factory=Patience)
    suspicion: Suspicion = field(default_factory=Suspicion)
