"""A further node of a workspace's trainings: it runs its ranks whenever node 0 calls. Imports no torch."""

import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from figa_core.errors import TrainingError
from figa_core.processes import interruption
from figa_core.processes.child import Child
from figa_core.processes.log import followed
from figa_core.training.failures import Failure, root_failure, write_failure
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import StepMetrics
from figa_core.training.nodes.addresses import answers
from figa_core.training.nodes.board import Board, Meeting, Notice
from figa_core.training.nodes.roll_call import node_name
from figa_core.training.ranks import Ranks, failure_of, no_problem
from figa_core.training.reference_process import rank_environment

_LOGGER = logging.getLogger("figa_core.training")
_POLL_S = 1.0
_CAUSE_S = 6.0  # rank 0 takes two to find the cause
_CAUSE_POLL_S = 0.1
SEEN_WITHIN_S = 60.0
"""Shared storage may show a new file so much later."""

Says = Callable[[], str | None]


class AttemptError(TrainingError):
    """The ranks here have ended early. Node 0 knows, and whether it goes on: a sweep does after a rate that
    diverged.
    """


class _Silence:
    """Node 0 reports steps and alarms."""

    def step(self, _metrics: StepMetrics) -> None: ...

    def alarms(self) -> None: ...


def meetings(
    board: Board, node: int, *, session: str | None, problem: Says = no_problem
) -> Iterator[Meeting]:
    """Every meeting that needs this node and whose node 0 listens, once; waits in between.

    With a `session` it ends when that is over, otherwise never.

    Raises:
        TrainingError: the session is not on the board, or there is a `problem`, such as the end of node 0.
        InterruptedRunError: somebody asked to stop.
    """
    attended: set[str] = set()
    called, late = session is None, time.monotonic() + SEEN_WITHIN_S
    while True:
        interruption.check()
        if (reason := problem()) is not None:
            raise TrainingError(reason)
        notice = board.read()
        if session is not None and notice is not None:
            if called and notice.session != session:
                return
            called = called or notice.session == session
        if not called and time.monotonic() > late:
            raise TrainingError(_not_called(board, notice, node))
        meeting = notice.meeting if called and notice is not None else None
        if meeting is not None and _is_next(meeting, node, attended):
            attended.add(meeting.attempt)
            yield meeting
        else:
            interruption.sleep(_POLL_S)


def _is_next(meeting: Meeting, node: int, attended: set[str]) -> bool:
    """Whether this node is wanted there, and node 0 is still or already there."""
    wanted = node < meeting.nodes and meeting.attempt not in attended
    return wanted and answers(meeting.host, meeting.port)


def _not_called(board: Board, notice: Notice | None, node: int) -> str:
    where = node_name(node, socket.gethostname())
    if notice is not None:
        return f"{where} is not needed: {board.path} calls nodes for no training of this run (any more)."
    return (
        f"{where} does not see {board.path}, which node 0 wrote. Put the workspace on storage that all nodes "
        "share, under the same path."
    )


def take_part(meeting: Meeting, node: int, log_path: Path, *, problem: Says = no_problem) -> None:
    """Run this node's ranks to their end. Their output is appended to `log_path`.

    Raises:
        AttemptError: the training stopped, here or elsewhere; the message has the cause.
        TrainingError: this node cannot take part.
        InterruptedRunError: somebody asked to stop; then the whole training writes a checkpoint and ends.
    """
    where = node_name(node, socket.gethostname())
    job = _job_of(meeting, where)
    _LOGGER.info(
        "%s trains %s with node 0 at %s; full log: %s", where, job.training_id, meeting.address, log_path
    )
    command = [sys.executable, "-m", "figa_core.training.launcher", "--job", str(meeting.job)]
    command += ["--node", str(node), "--meet", meeting.address, "--attempt", meeting.attempt]
    stopping = interruption.doing("the training finishes its step and writes a checkpoint on all nodes")
    with followed(log_path, _LOGGER), stopping, interruption.cooperating():
        launcher = Child(command, log_path, environment=rank_environment())
        reason = f"{where} was asked to stop"
        ranks = Ranks(job, launcher, _Silence(), done_before=0, problem=problem, stop_reason=reason)
        try:
            code = ranks.follow()
        finally:
            ranks.end()
    interruption.check()
    if code != 0:
        failure = f"its launcher ended with code {code}"
        if known_cause(job.output) is None:
            _note(job, node, where, failure)
        raise AttemptError(str(failure_of(job, log_path, failure, problem())))


def _job_of(meeting: Meeting, where: str) -> TrainingJob:
    """The job, once this node sees its file.

    Raises:
        TrainingError: it does not within a minute, or the file holds no training job.
    """
    late = time.monotonic() + SEEN_WITHIN_S
    while True:
        with suppress(OSError):
            text = meeting.job.read_text(encoding="utf-8")
            return TrainingJob.from_json(text, source=str(meeting.job))
        if time.monotonic() > late:
            raise TrainingError(
                f"{where} does not see {meeting.job}, which node 0 wrote. Put the workspace on storage that "
                "all nodes share, under the same path."
            )
        interruption.check()
        interruption.sleep(_POLL_S)


def known_cause(output: Path, *, within_s: float = _CAUSE_S) -> Failure | None:
    """The failure of the training in this directory, waiting a moment for one that explains the others."""
    late = time.monotonic() + within_s
    while True:
        found = root_failure(output)
        if (found is not None and not found.secondary) or time.monotonic() > late:
            return found
        time.sleep(_CAUSE_POLL_S)


def _note(job: TrainingJob, node: int, where: str, message: str) -> None:
    """Tell node 0, whose ranks may still wait for ours."""
    first = node * job.training.processes
    with suppress(OSError):
        failure = Failure(first, TrainingError.__name__, message, secondary=False, where=where, silent=True)
        write_failure(job.output, failure)
