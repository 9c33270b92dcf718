"""The bond between the ranks of several machines: a TCP connection of each rank to rank 0.

Over it they compare what they run and see before the training (`roll_call.py`). During it every rank learns
within seconds that another one is gone, and why, whatever the ranks are doing: a collective of NCCL would
wait for a dead rank for ten minutes, and one of gloo would only say that a connection was closed.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from socket import SHUT_RDWR
from typing import Any, Protocol

from figa_core.training.failures import Failure
from figa_core.training.nodes.endings import Ending, cause_of
from figa_core.training.nodes.line import Line, call, listen
from figa_core.training.nodes.roll_call import Presence, disagreements, presence_from

OnEnd = Callable[[Ending], None]

ROLL_CALL_S = 300.0
"""Ranks import their libraries before it, which takes minutes from a slow disk."""

_SETTLE_S = 2.0  # after a first end, for those that explain it better
_LEAVE_S = 30.0


class Bond(Protocol):
    """One rank's part."""

    def call_roll(self, own: Presence) -> Sequence[str]:
        """Why these ranks cannot train together, by node; the same answer on every rank that gets one."""
        ...

    def failed(self, failure: Failure) -> Ending | None:
        """Tell the others that this rank ends with an error; returns what led to it, if that is known."""
        ...

    def leave(self) -> None:
        """The training is over for this rank."""
        ...


class Hub:
    """Rank 0's part. `on_end` is called from a thread, once, if another rank ends the training."""

    def __init__(self, *, ranks: int, token: str, on_end: OnEnd, settle_s: float = _SETTLE_S) -> None:
        self._ranks, self._token, self._on_end, self._settle_s = ranks, token, on_end, settle_s
        self._changed = threading.Condition()
        self._lines: dict[int, Line] = {}
        self._presences: dict[int, Presence] = {}
        self._endings: dict[int, Ending] = {}
        self._left: set[int] = set()
        self._is_on_watch = self._is_over = False
        self._concluded = threading.Event()
        self._cause: Ending | None = None
        self._server = listen()
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, name="bond-hub", daemon=True).start()

    def call_roll(self, own: Presence, *, timeout_s: float = ROLL_CALL_S) -> Sequence[str]:
        """See `Bond`; a rank that does not answer in time is a reason, too."""
        with self._changed:
            self._presences[own.rank] = own
            self._changed.wait_for(lambda: len(self._presences) == self._ranks or self._endings, timeout_s)
            problems = disagreements(list(self._presences.values()))
            problems += [
                f"{each.where}: {each.as_failure().origin} ended: {each.as_failure().message}"
                for each in self._endings.values()
            ]
            missing = sorted(set(range(self._ranks)) - self._presences.keys())
            if missing and not problems:
                names = ", ".join(map(str, missing))
                problems.append(f"no word from rank {names} within {timeout_s:.0f} s: see its node's log.")
            self._is_on_watch = not problems
        self._tell_all(problems=problems, where=own.where)
        return problems

    def failed(self, failure: Failure) -> Ending | None:
        """See `Bond`; returns when the others know."""
        self._note(Ending(failure.rank, failure.where, failure))
        if self._is_on_watch:
            self._concluded.wait(self._settle_s + 1.0)
        return self._cause

    def leave(self) -> None:
        """See `Bond`; waits for the others, which would otherwise think that rank 0 has died."""
        with self._changed:
            self._is_over = True
        self._tell_all(over=True)
        with self._changed:
            self._changed.wait_for(lambda: self._lines.keys() <= self._left, _LEAVE_S)

    def close(self) -> None:
        """Close all connections, as the end of the process does."""
        with self._changed:
            self._is_over = True
            lines = list(self._lines.values())
        for line in lines:
            line.close()
        with suppress(OSError):
            self._server.shutdown(SHUT_RDWR)  # `close` alone would not wake the thread that accepts
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._listen_to, args=(Line(connection),), daemon=True).start()

    def _listen_to(self, line: Line) -> None:
        presence = _presence_in(line.receive(ROLL_CALL_S), self._token)
        if presence is None:  # not one of ours
            line.close()
            return
        with self._changed:
            self._lines[presence.rank], self._presences[presence.rank] = line, presence
            self._changed.notify_all()
        while (message := line.receive()) is not None:
            if "failed" in message:
                self._note(Ending(presence.rank, presence.where, Failure(**message["failed"])))
            elif "left" in message:
                self._leaves(presence.rank)
        line.close()
        self._note(Ending(presence.rank, presence.where))
        self._leaves(presence.rank)

    def _leaves(self, rank: int) -> None:
        with self._changed:
            self._left.add(rank)
            self._changed.notify_all()

    def _note(self, ending: Ending) -> None:
        """The first of a rank counts, and none of one that has left."""
        with self._changed:
            if self._is_over or ending.rank in self._endings or ending.rank in self._left:
                return
            self._endings[ending.rank] = ending
            self._changed.notify_all()
            if len(self._endings) > 1 or not self._is_on_watch:
                return
        threading.Thread(target=self._conclude, name="bond-end").start()

    def _conclude(self) -> None:
        time.sleep(self._settle_s)
        with self._changed:
            cause = self._cause = cause_of(list(self._endings.values()))
            own = 0 in self._endings
        self._tell_all(ended=asdict(cause.as_failure()))
        self._concluded.set()
        if not own:
            self._on_end(cause)

    def _tell_all(self, **message: Any) -> None:
        with self._changed:
            lines = list(self._lines.values())
        for line in lines:
            line.send(**message)


class Member:
    """The part of every other rank; `on_end` as in `Hub`."""

    def __init__(self, line: Line, token: str, on_end: OnEnd) -> None:
        self._line, self._token, self._on_end = line, token, on_end
        self._hub = ""
        self._is_over = self._fails = False
        self._heard = threading.Event()
        self._cause: Ending | None = None

    @classmethod
    def of(cls, host: str, port: int, token: str, on_end: OnEnd) -> "Member":
        """Connect to rank 0. Raises OSError."""
        return cls(call(host, port, ROLL_CALL_S), token, on_end)

    def call_roll(self, own: Presence) -> Sequence[str]:
        """See `Bond`."""
        self._line.send(token=self._token, presence=asdict(own))
        answer = self._line.receive(2 * ROLL_CALL_S)
        if answer is None:
            return ["rank 0 ended before the training began: see the log of node 0."]
        if not answer["problems"]:
            self._hub = answer["where"]
            threading.Thread(target=self._watch, name="bond", daemon=True).start()
        return answer["problems"]

    def failed(self, failure: Failure) -> Ending | None:
        """See `Bond`; an error that another rank caused waits a moment for the cause."""
        self._fails = True
        self._line.send(failed=asdict(failure))
        if failure.secondary:
            self._heard.wait(2 * _SETTLE_S)
        return self._cause

    def leave(self) -> None:
        """See `Bond`."""
        self._is_over = True
        self._line.send(left=True)

    def close(self) -> None:
        """Close the connection, as the end of the process does."""
        self._line.close()

    def _watch(self) -> None:
        while (message := self._line.receive()) is not None:
            if "ended" in message:
                failure = Failure(**message["ended"])
                self._hears_of(Ending(failure.rank, failure.where, failure))
            self._is_over = self._is_over or "over" in message
        self._hears_of(Ending(0, self._hub))

    def _hears_of(self, ending: Ending) -> None:
        if self._is_over or self._cause is not None:
            return
        self._cause = ending
        self._heard.set()
        if not self._fails:
            self._on_end(ending)


def _presence_in(message: Mapping[str, Any] | None, token: str) -> Presence | None:
    if message is None or message.get("token") != token:
        return None
    try:
        return presence_from(message["presence"])
    except (KeyError, TypeError):  # another release's
        fields = message.get("presence") or {}
        return Presence(int(fields.get("rank", 0)), int(fields.get("node", 0)), str(fields.get("host", "?")))
