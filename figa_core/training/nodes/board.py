"""The board of a workspace: one file, in which node 0 tells the other nodes which training needs them now.

The other nodes watch it (`join.py`). Every start of the ranks is an attempt of its own, so that a node takes
part in each once: a training starts its ranks twice if it goes back after an alarm, and again at a retry.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from figa_core.config.rendezvous import host_and_port
from figa_core.files import write_whole
from figa_core.training.job import TrainingJob
from figa_core.training.nodes.addresses import check_reachable, free_port, own_address

NAME = "nodes.json"


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the nodes of one attempt meet: node 0 listens at `host` and `port`.

    `job` is the training's job file. `attempt` is in torchrun's keys, so that nodes of two attempts never
    meet.
    """

    attempt: str
    job: Path
    host: str
    port: int
    nodes: int

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is on a board. `session` is the work for which nodes were called; None if nobody was."""

    session: str | None = None
    meeting: Meeting | None = None


class Board:
    """The board in a file. Writing raises OSError."""

    def __init__(self, path: Path, session: str | None = None) -> None:
        """`session`: what its notices are for, if nodes are called for a time and not for good."""
        self.path, self._session = path, session

    @property
    def alive(self) -> Path:
        """The signs of life of a session's node 0: if its machine is lost, nobody ends the session."""
        return self.path.with_suffix(".alive")

    def read(self) -> Notice | None:
        """What is on it now; None if it is not there, or cannot be read yet."""
        try:
            fields = json.loads(self.path.read_text(encoding="utf-8"))
            meeting = fields["meeting"]
            return Notice(fields["session"], meeting and Meeting(**{**meeting, "job": Path(meeting["job"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def call(self, meeting: Meeting) -> None:
        """Tell the nodes to come."""
        self._write(Notice(self._session, meeting))

    def clear(self) -> None:
        """Nobody is needed now; a session goes on."""
        self._write(Notice(self._session))

    def end(self) -> None:
        """The session is over."""
        self._write(Notice())

    def _write(self, notice: Notice) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps(asdict(notice), default=str).encode())


@dataclass(frozen=True, slots=True)
class OtherNodes:
    """The further nodes of a training as its first one knows them.

    `problem` says why one of them will not come or come back, as soon as that is known.
    """

    board: Board
    problem: Callable[[], str | None] = lambda: None


def next_meeting(job: TrainingJob, job_path: Path) -> Meeting:
    """The place of the next attempt.

    Raises:
        TrainingError: the address in the settings is not this machine's, or it has none.
    """
    given = job.training.rendezvous.address
    if given is None:
        host, port = own_address(), free_port()
    else:
        host, port = host_and_port(given)
        check_reachable(host)
    return Meeting(uuid.uuid4().hex[:16], job_path, host, port, job.training.nodes)
