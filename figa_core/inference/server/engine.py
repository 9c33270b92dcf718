"""The engine "server": vLLM servers generate and score, wherever they run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.inference.engine import FURTHER, Engine, Generating, Scoring, Tell
from figa_core.inference.row_checks import problem_of
from figa_core.inference.server import protocol
from figa_core.inference.server.adapters import with_adapter
from figa_core.inference.server.bridge import Deliver, in_thread, results
from figa_core.inference.server.client import Client, UnreachableError, clients, open_session
from figa_core.inference.server.here import ServersHere
from figa_core.inference.server.jobs import Rating, Sampling, Work, jobs_of
from figa_core.inference.server.launch import ROOM_FOR_RANK
from figa_core.inference.server.order import Order
from figa_core.inference.server.ordered import OnPool, OrderedServers
from figa_core.inference.server.pool import Pool
from figa_core.inference.server.served import RunningServers, ServedModel
from figa_core.inference.server.server import Server
from figa_core.inference.server.survey import UnfitServerError, differing, model_of
from figa_core.inference.servers import Servers
from figa_core.models.adapter import underlying
from figa_core.models.check import examine, problems_to_serve
from figa_core.models.config_json import read_config, sections
from figa_core.models.role import ModelRole
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest


class ServerEngine(Engine):
    """vLLM servers; the model's directory has the tokenizer and the identity of what they serve."""

    samples_by = FURTHER

    def __init__(
        self,
        tell: Tell = lambda _: None,
        pool: OnPool | None = None,
        adapter_rank: int | None = ROOM_FOR_RANK,
    ) -> None:
        """`tell` gets a line when a server is started, falls away or answers again. Of servers of its own:
        `pool` is where they are started, None for this machine; `adapter_rank` the largest rank of adapters
        to come, None if none will.
        """
        self._tell, self._pool, self._adapter_rank = tell, pool, adapter_rank
        self._served: ServedModel | None = None

    def generator(self, settings: Generating, scratch: Path) -> "ServerGenerator":
        """Raises EngineError unless a server answers, and all that do have the model and a long context."""
        # Adapters too, which a server loads beside their base.
        if problems := examine(settings.model, ModelRole.POLICY).problems:
            raise EngineError("\n".join(problems))
        settings = self._with_servers(settings, scratch)
        served = self._served if settings.servers and settings.servers.managed else None
        in_use = nullcontext if served is None else served.in_use
        with in_use():
            servers = _named(_servers(settings), settings.max_length)
        return ServerGenerator(replace(settings, servers=servers), self._tell, in_use)

    def scorer(self, settings: Scoring, _scratch: Path) -> "ServerScorer":
        """See `generator`. Raises EngineError unless the model is a whole classifier with one label."""
        if problems := problems_to_serve(settings.model, settings.label):
            raise EngineError("\n".join(problems))
        servers = _named(_servers(settings), settings.max_length)
        return ServerScorer(replace(settings, servers=servers), self._tell)

    def is_up(self, settings: Generating | Scoring) -> bool:
        """Whether it takes no further memory of this machine: its own servers are up, or there are others."""
        if settings.servers is None or not settings.servers.managed:
            return self._served is None
        return isinstance(settings, Generating) and self._served is not None and self._served.fits(settings)

    def close(self) -> None:
        """End the servers that it has started."""
        served, self._served = self._served, None
        if served is not None:
            served.stop()

    def _with_servers(self, settings: Generating, scratch: Path) -> Generating:
        """The settings with the addresses of our own servers, which are started if they are not up."""
        servers = settings.servers
        if servers is not None and servers.loads:
            return replace(settings, servers=with_adapter(servers, settings.model))
        if servers is None or not servers.managed:
            return settings
        if self._served is None or not self._served.claim(settings):
            self.close()
            self._served = self._started(settings, scratch)
        name = self._served.name_of(settings.model)
        own = replace(servers, urls=self._served.urls, model=name, api_key=self._served.key)
        return replace(settings, servers=own)

    def _started(self, settings: Generating, scratch: Path) -> ServedModel:
        pool, idle_s = self._pool, None if self._pool is None else self._pool.idle_s

        def servers(order: Order) -> RunningServers:
            return ServersHere(order, scratch) if pool is None else OrderedServers(order, scratch, pool)

        rank = self._adapter_rank
        served = ServedModel(settings, servers, adapter_rank=rank, idle_s=idle_s, tell=self._tell)
        served.start()
        return served


@dataclass(frozen=True, slots=True)
class ServerGenerator:
    """ports.Generator on vLLM servers; one request a sample, since each has its own seed."""

    settings: Generating
    tell: Tell
    in_use: Callable[[], AbstractContextManager[None]] = nullcontext

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation | RowFailure]]:
        """See `ports.Generator`. Raises EngineError when no server can be used any more."""
        longest = self.settings.max_length - 1  # room for one token at least
        rows = ((request.request_id, request.prompt_ids, request) for request in requests)
        work = Sampling(self.settings, _vocabulary(self.settings.model))
        with self.in_use():
            yield from _run(self.settings, work, rows, longest, self.tell)


@dataclass(frozen=True, slots=True)
class ServerScorer:
    """ports.Scorer on vLLM servers: raw logits, no sigmoid."""

    settings: Scoring
    tell: Tell

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float] | RowFailure]]:
        """See `ports.Scorer`. Raises EngineError when no server can be used any more."""
        rows = ((request.subject_id, request.token_ids, request) for request in requests)
        return _run(self.settings, Rating(self.settings.label), rows, self.settings.max_length, self.tell)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What servers said of themselves, by address: their model, or why they do not answer now."""

    models: dict[str, protocol.ServedModel]
    away: dict[str, str]


def survey(servers: Servers, longest: int) -> Surveyed:
    """Ask every server for its model. Raises EngineError if one of them is not what the settings say, or
    they have models of different names.
    """
    return in_thread(lambda: _survey(servers, longest))


async def _survey(servers: Servers, longest: int) -> Surveyed:
    async with _session_of(servers) as found:
        answers = await asyncio.gather(
            *(model_of(client, servers, longest=longest) for client in found), return_exceptions=True
        )
    surveyed, unfit = Surveyed({}, {}), []
    for client, answer in zip(found, answers, strict=True):
        if isinstance(answer, UnreachableError):
            surveyed.away[client.root] = str(answer)
        elif isinstance(answer, UnfitServerError):
            unfit.append(str(answer))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            surveyed.models[client.root] = answer
    if difference := differing(surveyed.models, servers.section):
        unfit.append(difference)
    if unfit:
        raise EngineError("\n".join(unfit))
    return surveyed


def _named(servers: Servers, longest: int) -> Servers:
    """With the name under which they have the model now: who comes back with another one is not used.

    Raises EngineError if a server is not what the settings say, or none answers.
    """
    found = survey(servers, longest)
    if not found.models:
        away = "; ".join(f"{root}: {reason}" for root, reason in found.away.items())
        raise EngineError(
            f"no vLLM server of {servers.section}.urls answers ({away}). Start one, or correct the addresses."
        )
    return replace(servers, model=next(iter(found.models.values())).name)


def _servers(settings: Generating | Scoring) -> Servers:
    if settings.servers is None or not settings.servers.urls:
        section = "generation" if isinstance(settings, Generating) else "reward"
        raise EngineError(
            f'{section}.engine is "server", and {section}.server.urls names no server. Give at least one '
            "address of a vLLM server."
        )
    return settings.servers


@asynccontextmanager
async def _session_of(servers: Servers) -> AsyncIterator[list[Client]]:
    session = open_session(servers)
    try:
        yield clients(servers, session)
    finally:
        await session.close()


def _run(
    settings: Generating | Scoring,
    work: Work,
    rows: Iterator[tuple[str, Sequence[int], Any]],
    longest: int,
    tell: Tell,
) -> Iterator[list[Any]]:
    """The results of the rows that the model can read, and failures of the others.

    A row comes with its id and its token ids.
    """
    servers = _servers(settings)
    vocabulary = _vocabulary(settings.model)

    def readable() -> Iterator[Any | RowFailure]:
        for row_id, ids, request in rows:
            reason = problem_of(ids, vocabulary=vocabulary, longest=longest)
            yield request if reason is None else RowFailure(row_id, reason)

    async def start(deliver: Deliver) -> tuple[Pool, Callable[[], Awaitable[None]]]:
        session = open_session(servers)
        try:
            surveyed = await _survey(servers, settings.max_length)
        except BaseException:
            await session.close()
            raise
        found = [Server(client, servers.most_in_flight) for client in clients(servers, session)]
        pool = Pool(servers, found, work, settings.max_length, deliver, tell)
        for server in found:
            if server.client.root in surveyed.away:
                pool.lose(server, surveyed.away[server.client.root])
        return pool, session.close

    yield from results(start, jobs_of(work, readable()), settings.rows_per_shard)


def _vocabulary(model: Path) -> int:
    """How many token ids the model knows, by its config.json."""
    sizes = (section.get("vocab_size") for section in sections(read_config(underlying(model))))
    return next((size for size in sizes if isinstance(size, int)), protocol.ANY_VOCABULARY)
