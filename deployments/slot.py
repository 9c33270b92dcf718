"""Keeps a run's place among those that its deployment may run at once.

A run has a slot of its deployment's limit, by a lease that Prefect renews every few minutes. When the server
was away for longer, or took the run for dead, the slot is free again, and a second run could begin beside the
first. So the run renews the lease itself whenever it looks at its record, and takes the slot again if it is
lost.

The new slot has no lease: at the run's end, and when it is marked as Crashed, the server frees one slot of
the limit, whether or not the lease is still there. What is free meanwhile another run may have taken; then
each workspace still has one owner (`figa_core/processes/lease.py`), and a pool its own limit.
"""

import logging
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

_LEASE_S = 300.0
_GONE = (404, 410)
_LOCKED = 423

_logger = logging.getLogger(__name__)


class Slot:
    """Of the run that this process executes."""

    def __init__(self) -> None:
        self._lease: UUID | None = None
        self._taken_again, self._told = False, False

    def lost(self) -> None:
        """The server has freed it: it took the run for dead."""
        self._taken_again = False

    def keep(self, client: SyncPrefectClient, run: FlowRun) -> bool:
        """Renew it or take it again; `run` is Running. Returns whether the run has what it needs.

        Raises:
            httpx.HTTPError, PrefectException: the server does not answer, or otherwise than expected.
        """
        if self._lease is None and run.state is not None:
            self._lease = run.state.state_details.deployment_concurrency_lease_id
        if self._lease is None or self._taken_again:  # no limit, or a slot without an end
            return True
        try:
            client.renew_concurrency_lease(self._lease, _LEASE_S)
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in _GONE:
                raise
            return self._take(client, run)
        return True

    def _take(self, client: SyncPrefectClient, run: FlowRun) -> bool:
        assert run.deployment_id is not None  # it had a lease
        limit = client.read_deployment(run.deployment_id).global_concurrency_limit
        if limit is None:  # somebody has removed it
            return True
        try:
            client.increment_concurrency_slots([limit.name], 1, "concurrency")
        except httpx.HTTPStatusError as error:
            if error.response.status_code != _LOCKED:
                raise
            if not self._told:
                self._told = True
                _logger.warning(
                    "the Prefect server has given this run's slot to another one, which may run beside it"
                )
            return False
        self._taken_again = True
        _logger.info("the Prefect server had lost the slot of this run; it has one again")
        return True
