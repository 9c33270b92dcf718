"""Rows for stub servers, and the engine that asks them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from figa_core.inference.engine import Generating, Scoring, open_engine
from figa_core.inference.servers import Servers
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest
from figa_core.records import FinishReason
from figa_core.sandbox.build import Sandbox

from .stub import STOP, StubServer, sample

Rows = Iterable[Sequence[Generation | RowFailure]]
REQUESTS = [GenerationRequest(f"row-{i}", (5 + i % 7, 6, 7), i) for i in range(200)]
TEXTS = [ScoringRequest(f"text-{i}", (1 + i % 9, 2, 3)) for i in range(100)]
KEY = "a-secret-key"


def servers_of(*stubs: StubServer, **changes: Any) -> Servers:
    settings: dict[str, Any] = {"patience_s": 1.5, "most_in_flight": 16} | changes
    return Servers(tuple(stub.url for stub in stubs), **settings)


class Asking:
    """Generates and scores with the sandbox's models as the servers' models; `told` has what people see."""

    def __init__(self, sandbox: Sandbox, scratch: Path) -> None:
        self.sandbox, self.scratch = sandbox, scratch
        self.told: list[str] = []

    def generating(self, servers: Servers) -> Generating:
        return Generating(
            self.sandbox.base_model,
            (STOP,),
            max_tokens=8,
            max_prompt_tokens=292,
            rows_per_shard=32,
            servers=servers,
        )

    def generate(self, servers: Servers, requests: Iterable[GenerationRequest] = REQUESTS) -> Rows:
        settings = self.generating(servers)
        return open_engine("server", self.told.append).generator(settings, self.scratch).generate(requests)

    def score(self, servers: Servers, requests: Iterable[ScoringRequest] = TEXTS) -> Any:
        settings = Scoring(self.sandbox.reward_model, max_length=300, servers=servers)
        return open_engine("server", self.told.append).scorer(settings, self.scratch).score(requests)


def of(request: GenerationRequest) -> Generation:
    ids = sample(list(request.prompt_ids), request.seed, 3)[:-1]
    return Generation(request.request_id, tuple(ids), FinishReason.STOP)


def all_of(requests: Iterable[GenerationRequest]) -> dict[str, Generation]:
    return {request.request_id: of(request) for request in requests}


def failures(rows: Rows) -> tuple[dict[str, Generation], dict[str, str]]:
    """Samples, and the reasons of the rows without one."""
    found = [row for batch in rows for row in batch]
    samples = {row.request_id: row for row in found if isinstance(row, Generation)}
    return samples, {row.row_id: row.reason for row in found if isinstance(row, RowFailure)}


def only(seed: int, answer: Callable[[dict[str, Any]], web.Response]) -> Any:
    """A behaviour: `answer` for the row with this seed, and the usual one for the others."""

    async def before(body: dict[str, Any]) -> web.Response | None:
        return answer(body) if body["seed"] == seed else None

    return before
