"""Limits that several runs share, kept by a Prefect server as global concurrency limits with slot decay.

A provider has two limits: of requests (a request is `SLOTS_PER_REQUEST` slots, so that the server's rounding
at each grant does not matter) and of tokens (a token is a slot). Prefect's `limit` is how much may be drawn
at once, `slot_decay_per_second` how much flows back; `figa_core/llm/permits.py` explains their values.
`python -m deployments.limits` creates them.

At a grant the server subtracts floor(decay · seconds since the last grant) from the slots in use, and grants
what then fits below `limit` (Prefect 3.8.8, `active_slots_after_decay`); a refusal changes nothing. A draw
reads what is free and asks for that much, with the same call as `prefect.concurrency.asyncio.rate_limit`.
`rate_limit` itself does not suit draws twice a second for hours: every acquire emits an event, which the
server stores; the amount is fixed while it waits; and it waits in a thread that continues after its run was
stopped, and takes the slots. As with its `strict=True`, a limit that does not exist is an error.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from figa_core.errors import ConfigError, LLMError
from figa_core.llm.permits import Drawn, PermitStock, SharedPermits

SLOTS_PER_REQUEST = 1000
SLOTS_PER_TOKEN = 1
OUTAGE_MAX_S = 60.0

_REFUSED = 423  # no slots are left; not an error


class LimitNames(NamedTuple):
    """The names of one provider's two limits on the Prefect server."""

    requests: str
    tokens: str

    @classmethod
    def of(cls, name: str) -> "LimitNames":
        """The limits of a provider's `name`, the value of `revision_batches.shared_limit`."""
        return cls(f"{name}-requests", f"{name}-tokens")


def name_for(base_url: str, model: str) -> str:
    """A name for one provider's limits: host and model, without characters that Prefect refuses."""
    host = urlsplit(base_url).netloc.rpartition("@")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{host}-{model}").strip("-")


class PrefectPermits:
    """Draws from one limit; satisfies `permits.PermitSource`."""

    def __init__(self, client: PrefectClient, name: str, slots_per_permit: int) -> None:
        """`client` is open, and stays open longer than this object."""
        self._client, self._name, self._slots_per_permit = client, name, slots_per_permit
        self._failing_since: float | None = None

    async def draw(self, most: float) -> Drawn | None:
        """Take what is free, at most `most` permits; None if another run was faster, or in an outage.

        Raises:
            ConfigError: there is no such limit on this server, or it limits nothing.
            LLMError: the server has granted nothing for a minute because of errors.
        """
        try:
            slots = min(await self.free_slots(), math.ceil(most * self._slots_per_permit))
            asked_at = asyncio.get_running_loop().time()
            if slots > 0:
                await self._client.increment_concurrency_slots([self._name], slots, "rate_limit")
        except (httpx.HTTPStatusError, httpx.TransportError) as error:
            if not isinstance(error, httpx.HTTPStatusError) or error.response.status_code != _REFUSED:
                self._tolerate(error)
            return None
        self._failing_since = None
        return Drawn(min(most, slots / self._slots_per_permit), asked_at) if slots > 0 else None

    async def free_slots(self) -> int:
        """The slots that are free now; raises ConfigError if the limit is missing or limits nothing."""
        try:
            limit = await self._client.read_global_concurrency_limit_by_name(self._name)
        except ObjectNotFound as error:
            raise ConfigError(self._advice("does not exist")) from error
        if not limit.active:
            raise ConfigError(self._advice("is switched off"))
        if limit.slot_decay_per_second <= 0 or limit.limit <= 0:
            raise ConfigError(self._advice("has no slot decay"))
        return max(0, limit.limit - limit.active_slots)

    def _tolerate(self, error: Exception) -> None:
        """Treat a failure as temporary, for a minute."""
        now = time.monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if now - self._failing_since > OUTAGE_MAX_S:
            raise LLMError(
                f"the Prefect server at {self._client.api_url} has granted nothing of the shared limit "
                f"{self._name!r} for {OUTAGE_MAX_S:.0f} s ({error}). Check that it runs; the rows without an "
                "answer stay pending, and the same command continues with them."
            ) from error

    def _advice(self, problem: str) -> str:
        return (
            f"revision_batches.shared_limit: the limit {self._name!r} {problem} on the Prefect server at "
            f"{self._client.api_url}. Create it there with `python -m deployments.limits --config FILE`; all "
            "runs that share a limit must use the same server (PREFECT_API_URL)."
        )


@asynccontextmanager
async def shared_permits(name: str) -> AsyncIterator[SharedPermits]:
    """The two limits called `name` on the Prefect server of this process, for one run and one event loop.

    Raises:
        ConfigError: one of them does not exist, or limits nothing.
        LLMError: the Prefect server cannot be reached.
    """
    names = LimitNames.of(name)
    async with get_client() as client:
        requests = PrefectPermits(client, names.requests, SLOTS_PER_REQUEST)
        tokens = PrefectPermits(client, names.tokens, SLOTS_PER_TOKEN)
        try:
            await requests.free_slots()
            await tokens.free_slots()
        except httpx.HTTPError as error:
            raise LLMError(
                f"the Prefect server at {client.api_url}, which keeps the shared limits, does not answer: "
                f"{error}"
            ) from error
        permits = SharedPermits(PermitStock(requests), PermitStock(tokens))
        try:
            yield permits
        finally:
            await permits.aclose()
