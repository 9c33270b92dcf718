"""The jobs that wait for a server.

Samples of one prompt follow each other, and a server that has drawn one of them still has the prompt in its
prefix cache. So the others wait for the same server, as long as there is something else to do for the rest.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from figa_core.inference.server.jobs import Job
from figa_core.inference.server.server import Server, State


class OpenJobs:
    """For all servers, and for one of them: `Server.own`."""

    def __init__(self, servers: Sequence[Server], *, by_prompt: bool) -> None:
        """`by_prompt`: see `jobs.Work`."""
        self._servers, self._by_prompt = servers, by_prompt
        self._open: deque[Job] = deque()
        self._prompt: Sequence[int] = ()
        self._last: Server | None = None  # has drawn this newest prompt, and is up

    def add(self, job: Job) -> None:
        """A new one."""
        if self._last is not None and _prompt_of(job) == self._prompt:
            self._last.own.append(job)
        else:
            self._open.append(job)

    def first(self, jobs: Iterable[Job]) -> None:
        """They are the next, in this order."""
        self._open.extendleft(reversed([*jobs]))

    def last(self, job: Job) -> None:
        """It comes after all others."""
        self._open.append(job)

    def leave(self, server: Server) -> None:
        """No job waits for this server any more."""
        self.first(server.own)
        server.own.clear()
        if server is self._last:
            self._last = None

    def take(self) -> tuple[Server, Job] | None:
        """The next job and the server with room for it; None if either is missing."""
        free = [server for server in self._servers if server.has_room]
        for server in free:
            if server.own:
                return server, server.own.popleft()
        if not free:
            return None
        server = min(free, key=lambda each: each.load)
        if self._open:
            job = self._open.popleft()
            self._keep_together(server, job)
            return server, job
        other = max(self._servers, key=lambda each: len(each.own))
        return (server, other.own.popleft()) if other.own else None

    def _keep_together(self, server: Server, job: Job) -> None:
        if not self._by_prompt or server.state is not State.UP:
            self._last = None
            return
        self._prompt, self._last = _prompt_of(job), server
        while self._open and _prompt_of(self._open[0]) == self._prompt:
            server.own.append(self._open.popleft())


def _prompt_of(job: Job) -> Sequence[int]:
    return job.rows[0].prompt_ids
