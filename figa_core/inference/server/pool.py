"""Gives each job to a server with room, and keeps it until it has an answer: no row is lost with a server.

A server is one of these:

* up: it gets as many jobs as `in_flight` allows;
* on trial: it answers again after a fall, and gets one job at a time until it has done one;
* away: it is asked with growing pauses whether it answers again;
* out: it can never be used (another model, a refused key).

A row fails only by its own fault: a server refuses it, or fails on it again and again while it answers
others. Whether it does is tried with a request that it has answered before.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from figa_core.errors import EngineError
from figa_core.inference.server import client as http
from figa_core.inference.server.jobs import Job, Work
from figa_core.inference.server.open_jobs import OpenJobs
from figa_core.inference.server.protocol import BadAnswerError, BadSampleError, read_waiting
from figa_core.inference.server.server import KnownGood, Server, State
from figa_core.inference.server.survey import UnfitServerError, model_of
from figa_core.inference.servers import Servers
from figa_core.ports import RowFailure

_FAILURES_MOST = 3
_LOSSES_MOST = 5
_PROBE_LEAST_S = 15.0
_PROBE_TIMES = 4.0
_LOOK_S = 0.5  # between two looks at a server's queue, and at whether any server is up
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)

Deliver = Callable[[Sequence[Any]], None]


class Pool:
    """Sends jobs to servers; all methods are called in its event loop's thread."""

    def __init__(
        self,
        servers: Servers,
        found: Sequence[Server],
        work: Work,
        longest: int,
        deliver: Deliver,
        tell: Callable[[str], None],
    ) -> None:
        """`found`: the servers that may be used; `longest`: tokens of a row; `deliver` gets results and
        failures of rows as they come.
        """
        self._servers, self._all, self._work, self._longest = servers, found, work, longest
        self._deliver, self._tell = deliver, tell
        self._open = OpenJobs(found, by_prompt=work.by_prompt)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last_up = time.monotonic()

    async def run(self) -> None:
        """Work until cancelled. Raises EngineError when no server can be used any more."""
        for server in self._all:
            self._spawn(self._watch_queue(server))
        self._spawn(self._watch_servers())
        try:
            await self._ended
        finally:
            tasks = [*self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def submit(self, job: Job) -> None:
        self._open.add(job)
        self._dispatch()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._ended.done():  # what is cancelled must start nothing new
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _dispatch(self) -> None:
        while (taken := self._open.take()) is not None:
            server, job = taken
            server.in_flight += 1
            self._spawn(self._do(server, job))

    async def _do(self, server: Server, job: Job) -> None:
        sent, body = time.monotonic(), self._work.body(self._servers.model or "", job.rows)
        try:
            content = await server.client.post(self._work.path, body)
            results = self._work.read(content, job.rows)
        except BadSampleError as error:
            self._answered(server)
            self._fail(job, str(error))
        except http.RefusedError as error:
            self._split_or_fail(job, str(error))
        except http.UselessError as error:
            self._again(job)
            self._out(server, f"{server.client.root}{self._work.path}: {error}")
        except http.BusyError as error:
            self._again(job)
            self._let_rest(server, error.wait_s)
        except http.UnreachableError as error:
            self._lost(server, job, str(error))
        except (http.ServerError, BadAnswerError) as error:
            await self._doubt(server, job, str(error), sent)
        else:
            server.known_good = KnownGood(body, job.rows, time.monotonic() - sent)
            self._answered(server)
            self._deliver(results)
        finally:
            server.in_flight -= 1
            self._dispatch()

    def _answered(self, server: Server) -> None:
        server.has_answered()
        server.tries = 0
        if server.state is State.TRIAL:
            server.state = State.UP
            self._tell(f"{server.client.root} answers again")

    def _let_rest(self, server: Server, seconds: float) -> None:
        server.rests_until = time.monotonic() + seconds
        self._open.leave(server)
        asyncio.get_running_loop().call_later(seconds, self._dispatch)

    def _again(self, job: Job) -> None:
        self._open.first([job])

    def _split_or_fail(self, job: Job, reason: str) -> None:
        if len(job.rows) > 1:
            self._open.first(job.halves())
        else:
            self._fail(job, reason)

    def _fail(self, job: Job, reason: str) -> None:
        words = f"the server could not process this row ({reason})"
        self._deliver([RowFailure(self._work.row_id(row), words) for row in job.rows])

    def _lost(self, server: Server, job: Job, reason: str) -> None:
        self.lose(server, reason)
        if server.known_good is None:  # it says nothing about the row; another is the next to be tried
            self._open.last(job)
            return
        job.losses += 1
        self._again(job) if job.losses < _LOSSES_MOST else self._fail(job, f"{reason} (each time)")

    async def _doubt(self, server: Server, job: Job, reason: str, sent: float) -> None:
        """An error that may be the row's fault or the server's; `sent`: when the request was."""
        async with server.checking:  # one question at a time; the others take over its answer
            lost = server.state in (State.AWAY, State.OUT)
            healthy = not lost and (self._has_answered(server, sent) or await self._still_answers(server))
        if not healthy:
            self.lose(server, reason)
            self._open.last(job)  # another row is the next to be tried
            return
        job.failures += 1
        if job.failures < _FAILURES_MOST:
            self._again(job)
        else:
            self._split_or_fail(job, reason)

    def _has_answered(self, server: Server, sent: float) -> bool:
        """Whether it has answered another request since, and not so long ago that it may hang by now."""
        return server.answered_at > max(sent, time.monotonic() - self._probe_s(server))

    async def _still_answers(self, server: Server) -> bool:
        """Whether the server answers a request that it has answered before."""
        if (known := server.known_good) is None:
            return False
        try:
            content = await server.client.post(self._work.path, known.body, self._probe_s(server))
            self._work.read(content, known.rows)
        except BadSampleError:
            pass
        except (http.ServerError, BadAnswerError):
            return False
        server.has_answered()
        return True

    def _probe_s(self, server: Server) -> float:
        """How long a server has for a request that it has answered before: a few times what it took."""
        before_s = server.known_good.took_s if server.known_good else 0.0
        return min(self._servers.timeout_s, max(_PROBE_LEAST_S, _PROBE_TIMES * before_s))

    def lose(self, server: Server, reason: str) -> None:
        """The server does not answer: it is asked again until it does, unless it is out, for a reason that
        stays.
        """
        if server.state is State.OUT:
            return
        server.trouble = reason
        if server.state in (State.UP, State.TRIAL):
            if server.state is State.UP:
                self._tell(f"{server.client.root} is away: {reason}. Its rows go to the others, or wait")
            server.state = State.AWAY
            self._open.leave(server)
            self._spawn(self._revive(server))

    def _out(self, server: Server, reason: str) -> None:
        if server.state is not State.OUT:
            server.state, server.trouble = State.OUT, reason
            self._open.leave(server)
            self._tell(f"{server.client.root} is not used any more: {reason}")
        if all(each.state is State.OUT for each in self._all):
            self._end(self._no_server())

    async def _revive(self, server: Server) -> None:
        while server.state is State.AWAY:
            await asyncio.sleep(_PAUSES_S[min(server.tries, len(_PAUSES_S) - 1)])
            server.tries += 1
            try:
                await model_of(server.client, self._servers, longest=self._longest)
            except http.UnreachableError as error:
                server.trouble = str(error)
            except UnfitServerError as error:
                self._out(server, str(error))
            else:
                if server.known_good is None or await self._still_answers(server):
                    server.state = State.TRIAL
        self._dispatch()

    async def _watch_queue(self, server: Server) -> None:
        """Adapt the server's limit to its queue."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if server.state is not State.UP or not server.in_flight:
                continue
            try:
                waiting = read_waiting(await server.client.get("/metrics"))
            except (http.UselessError, http.RefusedError):
                waiting = None
            except http.ServerError:  # it may hang: then it must not get more
                continue
            server.limit.observed(waiting=waiting, in_flight=server.in_flight)
            self._dispatch()

    async def _watch_servers(self) -> None:
        """End if no server has been of use for longer than the settings allow."""
        while True:
            await asyncio.sleep(min(_LOOK_S, self._servers.patience_s))
            if any(each.state is State.UP for each in self._all):
                self._last_up = time.monotonic()
                continue
            tried = any(each.in_flight for each in self._all)  # a trial may take as long as it needs
            if not tried and time.monotonic() - self._last_up > self._servers.patience_s:
                self._end(self._no_server())

    def _no_server(self) -> EngineError:
        troubles = "\n".join(f"  {each.client.root}: {each.trouble}" for each in self._all)
        return EngineError(
            f"no vLLM server can be used ({self._servers.section}.urls):\n{troubles}\n"
            "What has been answered is stored. Start the servers, then run again: it continues from there."
        )
