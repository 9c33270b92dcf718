"""Which vLLM servers an engine may use, and how patiently. Standard library only; see `server/`."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Servers:
    """Servers that all serve the same model.

    Attributes:
        urls: base addresses, with or without ``/v1`` at the end.
        model: the name under which they serve it; None for the only one that a server lists.
        api_key: sent to all of them; None for none.
        most_in_flight: requests that one server has at once, at most.
        timeout_s: for one request, with the time that it waits in the server's queue.
        patience_s: how long a run waits while none of them answers.
        section: of the configuration, for messages.
        loads: the model of the settings is an adapter, which they are to load.
        managed: the engine starts servers of its own on this machine, and there are no `urls` yet.
    """

    urls: tuple[str, ...]
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    most_in_flight: int = 256
    timeout_s: float = 600.0
    patience_s: float = 120.0
    section: str = "generation.server"
    managed: bool = False
    loads: bool = False
