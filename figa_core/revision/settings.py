"""How the reviser asks: plain values, without a key."""

from dataclasses import dataclass, field

from figa_core.llm.budget import Price
from figa_core.llm.doubts import Suspicion
from figa_core.llm.health import Patience
from figa_core.revision.prompt import PromptTemplates, load_templates


@dataclass(frozen=True, slots=True)
class ReviserSettings:
    """How to ask. No key in here: a `ReviserSettings` may be printed, logged and stored.

    Attributes:
        requests_per_minute, tokens_per_minute: never exceeded over any minute.
        max_concurrency: calls under way at once.
        max_attempts: calls a row gets; those that end in a 429 or reach nobody do not count.
        timeout_s: seconds for one whole call.
        backoff_s: pause before a row's second attempt; doubles with each further one, with jitter.
        temperature: None sends none: for models that take none.
        max_tokens: longest answer; asked for again with twice as many, once, if the answer was cut.
        max_edit_share: above it an answer is a rewrite (`validation.edit_share`).
        asked_again_max: times a row's unfit answer is asked for again, with the reason.
        structured_output: ask for JSON; an endpoint that refuses that is asked for plain text from then on.
        leave_out: of "max_tokens" and "stream", what a request never carries.
        price: None where it is not known: then no cost is recorded, and no budget can hold.
        drain_s: seconds for calls under way when the run ends early.
        patience, suspicion: what ends the run.
    """

    base_url: str
    model: str
    requests_per_minute: float = 500.0
    tokens_per_minute: float = 200_000.0
    max_concurrency: int = 256
    max_attempts: int = 5
    timeout_s: float = 60.0
    backoff_s: float = 0.5
    temperature: float | None = 0.0
    max_tokens: int = 1024
    max_edit_share: float = 0.8
    asked_again_max: int = 1
    structured_output: bool = True
    templates: PromptTemplates = field(default_factory=load_templates)
    leave_out: frozenset[str] = frozenset()
    price: Price | None = None
    drain_s: float = 15.0
    patience: Patience = field(default_factory=Patience)
    suspicion: Suspicion = field(default_factory=Suspicion)
