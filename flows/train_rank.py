"""A further node of a training on several machines, on the GPU pool: a part of `train-model`."""

from pathlib import Path
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client

from figa_core.inference.shard_folder import LOST_AFTER_S, LifeWatch
from figa_core.processes import interruption
from figa_core.training.nodes.board import Board
from figa_core.training.nodes.join import AttemptError, meetings, take_part
from flows.further_nodes import watched
from flows.run.parameters import absolute
from flows.server.run_log import library_logs
from tasks.workspace import Workspace

_GONE = (
    f"node 0 showed no sign of life for {LOST_AFTER_S:.0f} s while this node waited for it: its machine or "
    "the workspace's disk is gone. Start the training again; it goes on from its last checkpoint."
)


@flow(name="train-rank", persist_result=False)
async def train_rank(workspace: Path, session: str, node: int, first: UUID) -> None:
    """Run the ranks of one further machine of a training, whenever its first one calls.

    Args:
        workspace: Directory of the training's workspace, which all machines see under this path.
        session: What the first machine calls on the workspace's board.
        node: Number of this machine, from 1.
        first: Id of the run on the first machine; this run does not outlive it.

    Raises:
        ConfigError: the path is not valid.
        TrainingError: this machine does not see the workspace, or the training stopped.
        WorkspaceError: the workspace cannot be written.
    """
    here = Workspace(absolute("workspace", workspace))
    async with get_client() as client:
        run = await client.read_flow_run(first)
    board, ended = Board(here.nodes_board), None
    life = LifeWatch(board.alive)
    with library_logs(), interruption.doing("the node leaves the training"), watched([run]) as problem:

        def no_more() -> str | None:
            return problem() or (_GONE if life.is_lost() else None)

        for meeting in meetings(board, node, session=session, problem=no_more):
            ended = None
            try:
                take_part(meeting, node, here.node_log(meeting.job.parent, node), problem=problem)
            except AttemptError as error:
                ended = error
    if ended is not None:  # node 0 has not gone on
        raise ended
