"""How an endpoint is asked: plain values, without a key."""

from dataclasses import dataclass, field

from figa_core.llm.budget import Price
from figa_core.llm.doubts import Suspicion
from figa_core.llm.health import Patience


@dataclass(frozen=True, slots=True)
class AskerSettings:
    """Limits, attempts and patience. No key in here: it may be printed, logged and stored.

    Attributes:
        section: the section of the configuration that these come from, for messages.
        requests_per_minute, tokens_per_minute: never exceeded over any minute.
        max_concurrency: calls under way at once.
        max_attempts: calls a question gets; those that end in a 429 or reach nobody do not count.
        backoff_s: pause before a question's second attempt; doubles with each further one, with jitter.
        asked_again_max: times an unfit answer is asked for again, with the reason.
        leave_out: of "max_tokens" and "stream", what a request never carries.
        price: None where it is not known: then no cost is recorded, and no budget can hold.
        drain_s: seconds for calls under way when the run ends early.
        patience, suspicion: what ends the run.
    """

    section: str
    requests_per_minute: float = 500.0
    tokens_per_minute: float = 200_000.0
    max_concurrency: int = 256
    max_attempts: int = 5
    backoff_s: float = 0.5
    asked_again_max: int = 1
    leave_out: frozenset[str] = frozenset()
    price: Price | None = None
    drain_s: float = 15.0
    patience: Patience = field(default_factory=Patience)
    suspicion: Suspicion = field(default_factory=Suspicion)
