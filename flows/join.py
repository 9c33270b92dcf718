"""`figa join`: a machine that is a further node of a workspace's trainings, without Prefect."""

import logging
from collections.abc import Callable
from pathlib import Path

from figa_core.errors import TrainingError
from figa_core.training.nodes.board import Board
from figa_core.training.nodes.join import meetings, take_part
from tasks.workspace import Workspace

Say = Callable[[str], None]


def join_trainings(directory: Path, node: int, say: Say) -> None:
    """Run this node's ranks whenever node 0 calls, until somebody asks to stop. An error ends one training.

    Raises:
        InterruptedRunError: somebody asked to stop.
    """
    workspace = Workspace(directory.absolute())
    _log_to(say)
    say(f"node {node}: waits for trainings in {workspace.directory}; Ctrl-C ends it")
    for meeting in meetings(Board(workspace.nodes_board), node, session=None):
        try:
            take_part(meeting, node, workspace.node_log(meeting.job.parent, node))
        except (TrainingError, OSError) as error:  # such as a full disk
            say(f"error: {error}")
        else:
            say(f"node {node}: done, waits for the next training")


def _log_to(say: Say) -> None:
    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record))

    logger = logging.getLogger("figa_core")
    logger.addHandler(Lines())
    logger.setLevel(logging.INFO)
