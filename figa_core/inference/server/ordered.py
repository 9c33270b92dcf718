"""A run's side of servers on another machine: has them started there, and sees that they end.

What starts the process that serves is not known here: `ServingRuns` is Prefect in a real run
(`flows/server/serving_runs.py`). That process calls `serving.serve_order`.
"""

import logging
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from figa_core.errors import EngineError
from figa_core.inference.engine import Tell
from figa_core.inference.server.here import DIRECT
from figa_core.inference.server.order import LOOPBACK, OWN_NAME, Listening, Order
from figa_core.inference.server.serving_folder import Ordered, ServingFolder, new_serving_folder
from figa_core.inference.shard_folder import BEAT_S, LOST_AFTER_S, LifeWatch, signs_of_life
from figa_core.processes import interruption

_LOGGER = logging.getLogger("figa_core.inference")
_LOOK_S = 0.3
_REACH_S = 20.0
_END_S = 60.0
_END_INTERRUPTED_S = 3.0
_QUIET_S = 3 * BEAT_S
IDLE_S = 120.0
"""So long servers are kept without work: others may wait for their machine."""


class ServingRun(Protocol):
    """A run elsewhere that is to call `serving.serve_order`."""

    @property
    def name(self) -> str: ...

    def ended(self) -> str | None:
        """How it has ended, in words; None while it may still begin or work."""
        ...

    def cancel(self) -> None:
        """It is not needed any more; one that has begun ends by itself."""
        ...

    def end(self) -> None:
        """It should have ended by itself, and has not."""
        ...


class ServingRuns(Protocol):
    def start(self, folder: Path) -> ServingRun:
        """Start a run for the order in this folder; it begins when a machine is free. Raises FigaError if
        that is impossible.
        """
        ...


@dataclass(frozen=True, slots=True)
class OnPool:
    """Where servers of other machines come from.

    Attributes:
        runs: starts what serves.
        fingerprint_of: the hash of a model directory's files.
        listening: where the servers listen.
        idle_s: so long they are kept without work.
        lost_after_s: without a sign of life for so long, either side counts the other as dead.
    """

    runs: ServingRuns
    fingerprint_of: Callable[[Path], str]
    listening: Listening
    idle_s: float = IDLE_S
    lost_after_s: float = LOST_AFTER_S


class OrderedServers:
    """served.RunningServers on another machine."""

    def __init__(self, order: Order, scratch: Path, pool: OnPool) -> None:
        """The folder for both sides is in `scratch`."""
        self._order, self._scratch, self._pool = order, scratch, pool
        self._folder: ServingFolder | None = None
        self._run: ServingRun | None = None
        self._life: LifeWatch | None = None
        self._quiet: LifeWatch | None = None
        self._asked_at = float("-inf")
        self._signs = ExitStack()

    @property
    def urls(self) -> tuple[str, ...]:
        return (self._folder and self._folder.urls()) or ()

    def start(self, tell: Tell) -> None:
        """Return when all answer, also from here; a machine may be free only after hours.

        Raises:
            EngineError: they did not start, with the reason that their machine gives, or cannot be reached.
            FigaError: nothing can start them.
        """
        try:
            folder = self._folder = new_serving_folder(self._scratch, uuid.uuid4().hex[:12])
            self._signs.enter_context(signs_of_life(folder.owner))
            fingerprint = self._pool.fingerprint_of(self._order.base)
            folder.write_order(Ordered(self._order, self._pool.listening, fingerprint))
            self._run = self._pool.runs.start(folder.path)
            urls = self._wait(folder)
            for url in urls:
                self._reach(url, folder)
            tell(f"{self._order.base.name} is served at {', '.join(urls)} by {folder.where()}")
        except BaseException:
            self.stop()
            raise

    def trouble(self) -> str | None:
        """Why they are not there, or not any more; None while they may be, or are."""
        folder, run = self._folder, self._run
        if folder is None or run is None:
            return "the servers have been ended"
        place = f"{run.name!r} ({folder.where() or 'not begun'})"
        if (failure := folder.failure()) is not None:
            return f"{place}: {failure}"
        now, asked_at = time.monotonic(), self._asked_at
        self._asked_at = now
        if self._life is None and folder.where() is not None:
            self._life = LifeWatch(folder.alive, self._pool.lost_after_s)
            self._quiet = LifeWatch(folder.alive, min(_QUIET_S, self._pool.lost_after_s))
        # A run that gives signs of life serves, also if its network to Prefect is away. If nobody has looked
        # for long, it may have given none.
        silent = self._quiet is None or now - asked_at > _QUIET_S or self._quiet.is_lost()
        if silent and (how := run.ended()) is not None:
            return f"{place}: {how}"
        if self._life is not None and self._life.is_lost():
            return (
                f"{place}: no sign of life for {self._pool.lost_after_s:.0f} s; its machine may have lost "
                "the workspace's disk."
            )
        return None

    def stop(self) -> None:
        """Have them ended, and wait until they are, so that their GPUs are free; may be called twice."""
        folder, run = self._folder, self._run
        self._folder = self._run = self._life = self._quiet = None
        try:
            if folder is not None:
                folder.end()
                if run is not None:
                    run.cancel()
                    self._see_off(folder, run)
        finally:
            self._signs.close()
            if folder is not None:
                folder.remove()  # with the key

    def _see_off(self, folder: ServingFolder, run: ServingRun) -> None:
        since = time.monotonic()
        while folder.where() is not None and not folder.is_left() and run.ended() is None:
            # `interruption.sleep` would not wait: a stop was requested, perhaps.
            time.sleep(_LOOK_S)
            allowed = _END_INTERRUPTED_S if interruption.requested() else _END_S
            if time.monotonic() - since > allowed:
                if not interruption.requested():
                    _LOGGER.warning("%s has not ended within %.0f s and is cancelled", run.name, allowed)
                    run.end()
                return

    def _wait(self, folder: ServingFolder) -> tuple[str, ...]:
        while (urls := folder.urls()) is None:
            if (trouble := self.trouble()) is not None:
                raise EngineError(trouble)
            interruption.check()
            interruption.sleep(_LOOK_S)
        return urls

    def _reach(self, url: str, folder: ServingFolder) -> None:
        """Raises EngineError unless our server, and no other program, answers at the address."""
        deadline = time.monotonic() + _REACH_S
        while (reason := self._why_not(url)) is not None:
            if (trouble := self.trouble()) is not None:
                raise EngineError(trouble)
            if time.monotonic() > deadline:
                raise EngineError(_unreachable(url, str(folder.where()), reason, self._pool.listening))
            interruption.check()
            interruption.sleep(_LOOK_S)

    def _why_not(self, url: str) -> str | None:
        request = urllib.request.Request(
            f"{url}/v1/models", headers={"Authorization": f"Bearer {self._order.key}"}
        )
        try:
            with DIRECT.open(request, timeout=5) as response:
                found = response.read(1_000_000).decode(errors="replace")
        except urllib.error.HTTPError as error:
            return f"something else answers there, with HTTP {error.code}"
        except (OSError, ValueError) as error:
            return str(getattr(error, "reason", error))
        return None if self._order.name in found else "another server answers there"


def _unreachable(url: str, where: str, reason: str, listening: Listening) -> str:
    if listening.host in (LOOPBACK, "::1", "localhost") and listening.address is None:
        what = (
            f"It listens on {listening.host}, which only its own machine reaches. Set "
            'generation.serving.listen = "0.0.0.0", or an address of that machine on a network of both.'
        )
    else:
        what = (
            "Let generation.serving.address name that machine as this one reaches it "
            f'("{OWN_NAME}" stands for its name), let generation.serving.listen be an address on that '
            "network, and let its firewall allow the port (generation.serving.port fixes it)."
        )
    return f"{url}: the server of {where} answers on its own machine, and not here: {reason}. {what}"
