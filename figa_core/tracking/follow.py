"""Follows a training with experiment trackers, from the process that starts its ranks.

Each tracker has a process of its own, which reads the training's files. Nothing here waits for one while the
training runs, and nothing raises: what goes wrong with a tracker is one warning.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from figa_core.errors import one_line
from figa_core.processes import interruption
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed
from figa_core.tracking import files
from figa_core.tracking.tracker import TrackedRun

Command = Callable[[str, Path, Path], Sequence[str]]

_LOGGER = logging.getLogger("figa_core.tracking")
_POLL_S = 0.05
_SUCCEEDED, _FAILED = b"succeeded", b"failed"
_NOT_ALL = 3  # it has said so itself


def _command(name: str, output: Path, local: Path) -> Sequence[str]:
    paths = ("--output", str(output), "--local", str(local))
    return [sys.executable, "-m", "figa_core.tracking", name, *paths]


@dataclass(frozen=True, slots=True)
class Trackers:
    """The trackers of a training.

    Attributes:
        names: of the trackers.
        local: the directory for what they write on this machine.
        logs: the directory for the output of their processes.
        wait_s: the most that the end of a training waits for all of them together; a training that failed or
            was stopped waits for `wait_s_at_once` only.
        command: starts the process of a tracker; gets its name, the training's directory and `local`.
    """

    names: Sequence[str]
    local: Path
    logs: Path
    wait_s: float = 30.0
    wait_s_at_once: float = 5.0
    command: Command = _command


@contextmanager
def tracked(output: Path, run: TrackedRun, trackers: Trackers) -> Iterator[None]:
    """Send the training in the directory `output` to trackers while the block runs it.

    A training that was finished before is sent as well, unless a tracker has it already.
    """
    if not _lacking(output, trackers) or not _wrote(output, run):
        yield
        return
    with _followers(output, trackers) as followers:
        try:
            yield
        except BaseException:
            _end(followers, _FAILED, trackers.wait_s_at_once, trackers.wait_s_at_once)
            raise
        _end(followers, _SUCCEEDED, trackers.wait_s, trackers.wait_s_at_once)


def send(outputs: Sequence[Path], trackers: Trackers) -> None:
    """Send what trackers lack of finished trainings that they followed, within `wait_s` for all together."""
    deadline = time.monotonic() + trackers.wait_s
    for output in outputs:
        if _lacking(output, trackers) and files.has_run(output):
            with _followers(output, trackers) as followers:
                left = max(deadline - time.monotonic(), trackers.wait_s_at_once)
                _end(followers, _SUCCEEDED, left, trackers.wait_s_at_once)


@dataclass(frozen=True, slots=True)
class _Follower:
    name: str
    output: Path
    child: Child


def _lacking(output: Path, trackers: Trackers) -> list[str]:
    return [name for name in trackers.names if not files.is_sent(output, name)]


def _wrote(output: Path, run: TrackedRun) -> bool:
    try:
        files.write_run(output, run)
    except OSError as error:
        _LOGGER.warning("%s: cannot write (%s). No tracker follows this training.", output, error.strerror)
        return False
    return True


@contextmanager
def _followers(output: Path, trackers: Trackers) -> Iterator[list[_Follower]]:
    """The processes of the trackers that lack something; those that are left are killed at the end."""
    with ExitStack() as stack:
        names = _lacking(output, trackers)
        yield [each for name in names if (each := _started(stack, name, output, trackers)) is not None]


def _started(stack: ExitStack, name: str, output: Path, trackers: Trackers) -> _Follower | None:
    log = trackers.logs / f"track-{name}-{output.name[-8:]}.log"
    try:
        stack.enter_context(followed(log, _LOGGER))
        child = Child(
            trackers.command(name, output, trackers.local),
            log,
            environment=child_environment(OMP_NUM_THREADS="1", DO_NOT_TRACK="1"),
            takes_input=True,
        )
    except OSError as error:
        _LOGGER.warning("%s does not follow this training: %s.", name, one_line(error))
        return None
    stack.callback(child.kill)
    return _Follower(name, output, child)


def _end(followers: Sequence[_Follower], how: bytes, wait_s: float, once_asked_s: float) -> None:
    """Let the processes send the rest, and end those that take too long."""
    for each in followers:
        each.child.send(how)
    begun = time.monotonic()
    while any(each.child.exit_code is None for each in followers):
        wait_s = min(wait_s, once_asked_s) if interruption.requested() else wait_s
        if time.monotonic() - begun > wait_s:
            break
        time.sleep(_POLL_S)
    for each in followers:
        _judge(each, wait_s)


def _judge(follower: _Follower, waited_s: float) -> None:
    code, log = follower.child.exit_code, follower.child.log
    if code in (0, _NOT_ALL):
        return
    follower.child.kill()
    how = f"did not end within {waited_s:g} s" if code is None else f"ended with code {code}"
    _LOGGER.warning(
        "%s %s and has the training's figures up to step %d. The same command sends the rest. Its log: %s",
        follower.name,
        how,
        files.read_sent(follower.output, follower.name).step,
        log,
    )
