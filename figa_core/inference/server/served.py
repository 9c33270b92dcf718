"""The model that a run's own servers have: a base, and the adapters that were loaded into them.

Adapters are loaded into running servers, so that several trained by LoRA need their base only once. Where
the servers run is not known here: on this machine (`here`), or on one of a pool (`ordered`).
"""

import json
import logging
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from figa_core.errors import EngineError
from figa_core.inference.engine import Generating, Tell
from figa_core.inference.server.here import DIRECT
from figa_core.inference.server.launch import ROOM_FOR_RANK, lora_rank_of, rank_of
from figa_core.inference.server.order import Order
from figa_core.models.adapter import is_adapter, underlying

_LOGGER = logging.getLogger("figa_core.inference")
_LOAD_S = 300.0


class RunningServers(Protocol):
    """Servers of one order, wherever they run."""

    @property
    def urls(self) -> tuple[str, ...]: ...

    def start(self, tell: Tell) -> None:
        """Return when all answer. Raises EngineError if one does not; then none is left running."""
        ...

    def trouble(self) -> str | None:
        """Why they cannot be used any more, if that is known."""
        ...

    def stop(self) -> None:
        """End them; may be called twice."""
        ...


class ServedModel:
    """Servers of one base model and its adapters; started by `start`."""

    def __init__(
        self,
        settings: Generating,
        servers: Callable[[Order], RunningServers],
        *,
        adapter_rank: int | None = ROOM_FOR_RANK,
        idle_s: float | None = None,
        tell: Tell = lambda _: None,
    ) -> None:
        """`adapter_rank`: the largest rank of adapters to come; None if none will. After `idle_s` seconds
        outside of `in_use` the servers end; None: they do not.

        Raises EngineError if they cannot be started here.
        """
        self._order = Order(
            base=underlying(settings.model),
            name=f"figa-{secrets.token_hex(4)}",
            key=secrets.token_hex(16),
            max_length=settings.max_length,
            gpu_memory_share=settings.gpu_memory_share,
            copies=settings.copies,
            lora_rank=lora_rank_of(settings.model, adapter_rank),
        )
        self._servers, self._idle_s, self._tell = servers(self._order), idle_s, tell
        self._adapters: dict[Path, str] = {}
        self._lock = threading.RLock()
        self._clock: threading.Timer | None = None
        self.urls: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self._order.key

    def fits(self, settings: Generating) -> bool:
        """Whether these servers run and can do the work of `settings`."""
        ours = self._order
        alike = (
            settings.max_length <= ours.max_length
            and settings.gpu_memory_share == ours.gpu_memory_share
            and settings.copies == ours.copies
            and underlying(settings.model) == ours.base
        )
        if alike and is_adapter(settings.model):
            alike = rank_of(settings.model) <= (ours.lora_rank or 0)
        return alike and bool(self.urls) and self.trouble() is None

    def claim(self, settings: Generating) -> bool:
        """As `fits`; if so they do not end for want of work before the end of the next `in_use`."""
        with self._lock:
            self._stop_clock()
            return self.fits(settings)

    def start(self) -> None:
        """Start them and wait until all answer. Raises EngineError if they do not, or cannot be reached."""
        self._servers.start(self._tell)
        self.urls = self._servers.urls

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Work that needs them. If it fails because they have ended, the error says why they have."""
        with self._lock:
            self._stop_clock()
        try:
            yield
        except EngineError as error:
            if (trouble := self.trouble()) is not None:
                raise EngineError(f"{trouble}\n{error}") from error
            raise
        finally:
            self._start_clock()

    def name_of(self, model: Path) -> str:
        """The name under which a model is served; an adapter is loaded if it is not yet.

        Raises EngineError if a server refuses it.
        """
        if not is_adapter(model):
            return self._order.name
        if model not in self._adapters:
            name = f"{self._order.name}-adapter-{len(self._adapters) + 1}"
            for url in self.urls:
                self._load(url, name, model)
            self._adapters[model] = name
        return self._adapters[model]

    def trouble(self) -> str | None:
        """Why they have ended by themselves; None while they run."""
        return self._servers.trouble()

    def stop(self) -> None:
        """End them; may be called twice."""
        with self._lock:
            self._stop_clock()
            self.urls = ()
            self._servers.stop()

    def _load(self, url: str, name: str, adapter: Path) -> None:
        request = urllib.request.Request(
            f"{url}/v1/load_lora_adapter",
            json.dumps({"lora_name": name, "lora_path": str(adapter)}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"},
        )
        try:
            with DIRECT.open(request, timeout=_LOAD_S):
                return
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
        except OSError as error:
            said = str(error)
        raise EngineError(
            f"{adapter}: vLLM's server does not load this adapter: {said}. With generation.server.managed = "
            'false and generation.engine = "vllm" it is merged into its base instead.'
        )

    def _start_clock(self) -> None:
        with self._lock:
            self._stop_clock()
            if self._idle_s is not None and self.urls:
                self._clock = threading.Timer(self._idle_s, self._end_idle)
                self._clock.daemon = True
                self._clock.start()

    def _stop_clock(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.cancel()

    def _end_idle(self) -> None:
        with self._lock:
            if self._clock is None or threading.current_thread() is not self._clock:
                return  # somebody has work for them
            _LOGGER.info("ending the servers of %s after %.0f s without work", self._order.base, self._idle_s)
            self.stop()
