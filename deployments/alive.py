"""Keeps the state of a run true whose machine did not reach the Prefect server for a while.

The server marks a run as Crashed that gives no sign of life for 90 s (`automations.py`), also one whose
machine has only lost its network. Its process goes on. When it reaches the server again it says so, and the
run is Running again. If somebody has started the run anew meanwhile, this process ends: its training writes a
checkpoint first, and the other one, which waits for the same directory, continues from there.

With the state the server takes the run's slot back, and Prefect would end the run at the next renewal of it,
also if no server answers. Ours go on and take the slot again (`slot.py`); a workspace, a training's directory
and a worker on the pool `gpu` have limits of their own.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any
from uuid import UUID

import httpx
from prefect import flow_engine
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Running

from deployments.slot import Slot
from figa_core.processes import interruption

_LOOK_EVERY_S = 20.0
_ANSWER_WITHIN_S = 10.0
_BACK = "The machine of this run reaches the server again; the run went on meanwhile."

_logger = logging.getLogger(__name__)


class Verdict(Enum):
    """What a look at the server's record of a run says to the process that runs it."""

    FINE = auto()
    THOUGHT_DEAD = auto()
    STARTED_ANEW = auto()


class Standing:
    """What the server has said about this process's run so far."""

    def __init__(self) -> None:
        self._starts: int | None = None
        self._crashed = 0

    def verdict(self, run: FlowRun) -> Verdict:
        """A run is thought dead if it is Crashed at two looks: a process that reports that ends before."""
        state = run.state_type
        self._crashed = self._crashed + 1 if state is StateType.CRASHED else 0
        if self._starts is None:
            self._starts = run.run_count if state is StateType.RUNNING else None
            return Verdict.FINE
        waits = state in (StateType.SCHEDULED, StateType.PENDING)
        if waits or (state is StateType.RUNNING and run.run_count > self._starts):
            return Verdict.STARTED_ANEW
        return Verdict.THOUGHT_DEAD if self._crashed > 1 else Verdict.FINE

    def revived(self) -> None:
        """Its next start is our own."""
        self._starts, self._crashed = None, 0


def go_on_without_a_slot() -> None:
    """Do not let Prefect end this process's run because its slot cannot be renewed."""
    for name in ("maintain_concurrency_lease", "amaintain_concurrency_lease"):
        setattr(flow_engine, name, _forgiving(getattr(flow_engine, name)))


def _forgiving(maintain: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(lease_id: UUID, lease_duration: float, **options: Any) -> Any:
        return maintain(lease_id, lease_duration, **{**options, "raise_on_lease_renewal_failure": False})

    return wrapped


def stay_alive(run_id: UUID, *, every_s: float = _LOOK_EVERY_S) -> None:
    """Watch the server's record of the run that this process executes, until it ends."""
    threading.Thread(target=_watch, args=(run_id, every_s), daemon=True, name="record-watch").start()


def _watch(run_id: UUID, every_s: float) -> None:
    standing, slot = Standing(), Slot()
    # Each look is brief: Prefect's own retries would still wait long after the network's return.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: _ANSWER_WITHIN_S}):
        while not interruption.requested():
            time.sleep(every_s)
            try:
                if _look(run_id, standing, slot) is Verdict.STARTED_ANEW:
                    _logger.warning("run %s was started again while this process ran it; it ends", run_id)
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
            except (httpx.HTTPError, PrefectException) as error:
                _logger.debug("run %s: the server does not answer: %s", run_id, error)


def _look(run_id: UUID, standing: Standing, slot: Slot) -> Verdict:
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        verdict = standing.verdict(run)
        if verdict is Verdict.THOUGHT_DEAD and not interruption.requested():
            client.set_flow_run_state(run_id, Running(message=_BACK))
            standing.revived()
            slot.lost()
        elif verdict is Verdict.FINE and run.state_type is StateType.RUNNING:
            slot.keep(client, run)
    return verdict
