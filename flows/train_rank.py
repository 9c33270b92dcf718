"""A further node of a training on several machines, on the GPU pool: a part of `train-model`."""

from pathlib import Path
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client

from figa_core.processes import interruption
from figa_core.training.nodes.board import Board
from figa_core.training.nodes.join import meetings, take_part
from flows.further_nodes import watched
from flows.run.parameters import absolute
from flows.server.run_log import library_logs
from tasks.workspace import Workspace


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
    board = Board(here.nodes_board)
    with library_logs(), interruption.doing("the node leaves the training"), watched([run]) as problem:
        for meeting in meetings(board, node, session=session, problem=problem):
            take_part(meeting, node, here.node_log(meeting.job.parent, node), problem=problem)
