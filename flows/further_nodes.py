"""The further nodes of a training that a worker runs: a run of `train-rank` for each, on the same pool."""

import asyncio
import contextvars
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
from filelock import FileLock, Timeout
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling

from figa_core.errors import ConfigError, TrainingError
from figa_core.inference.shard_folder import signs_of_life
from figa_core.training.nodes.board import Board, OtherNodes
from flows.progress import current
from flows.server.elsewhere import begun, end_of, start_elsewhere, started_by_worker
from flows.server.names import GPU_POOL, TRAIN_RANK
from flows.server.workers import online_workers
from tasks.workspace import Workspace

_LOOK_EVERY_S = 3.0
_END_WITHIN_S = 30.0


@asynccontextmanager
async def further_nodes(workspace: Workspace, nodes: int, title: str) -> AsyncIterator[OtherNodes | None]:
    """Start the runs of all nodes but the first, which is this run, and wait until they have begun.

    They end with the context. None if there is one node, or nobody started this run on a pool.

    Raises:
        ConfigError: the pool does not run so many at once, or `train-rank` is not deployed.
        TrainingError: another training of this workspace has called further nodes.
        FigaError: one of them ended before it began.
    """
    if nodes == 1 or not started_by_worker():
        yield None
        return
    await _check_pool(nodes)
    session, runs = uuid.uuid4().hex[:16], list[FlowRun]()
    board = Board(workspace.nodes_board, session)
    where = {"workspace": str(workspace.directory), "session": session, "first": str(flow_run.id)}
    with _only_session(board.path), signs_of_life(board.alive):
        board.clear()
        try:
            for node in range(1, nodes):
                name = f"{title}, node {node} of {nodes}"
                runs.append(await start_elsewhere(TRAIN_RANK, name, {**where, "node": node}, pool=GPU_POOL))
            for run in runs:
                await begun(run, pool=GPU_POOL)
            with watched(runs) as problem:
                yield OtherNodes(board, problem)
        finally:
            board.end()
            with suppress(httpx.HTTPError, ObjectNotFound):  # the training's own end counts
                await _end(runs)


@contextmanager
def _only_session(board: Path) -> Iterator[None]:
    """Refuse a second session: it would write over the first one's board, whose nodes would leave.

    It does not wait, because it has a place of the pool that the first one's nodes may need.
    """
    lock = FileLock(board.with_name(f"{board.name}.lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainingError(
            f"{board.parent}: another training on several machines is under way in this workspace. Start "
            "this one when that has ended."
        ) from None
    try:
        yield
    finally:
        lock.release()


async def _check_pool(nodes: int) -> None:
    async with get_client() as client:
        try:
            pool = await client.read_work_pool(GPU_POOL)
        except ObjectNotFound:
            return  # starting a run there says what to do
        online = len(await online_workers(client, GPU_POOL))
    if pool.concurrency_limit is not None and pool.concurrency_limit < nodes:
        raise ConfigError(
            f"training.nodes is {nodes}, but the pool {GPU_POOL!r} runs only {pool.concurrency_limit} at a "
            f"time. Start a worker on each of {nodes} machines (`python -m deployments.worker {GPU_POOL}`), "
            f"and raise the limit: prefect work-pool update {GPU_POOL} --concurrency-limit {nodes}"
        )
    if pool.type == "process" and online < nodes:  # one of another type starts any number of machines
        current().line(
            f"training.nodes is {nodes}, and the pool {GPU_POOL!r} has {online} worker(s) online: the "
            f"training waits for more. Start one on each machine: `python -m deployments.worker {GPU_POOL}`"
        )


@contextmanager
def watched(runs: Sequence[FlowRun]) -> Iterator[Callable[[], str | None]]:
    """Look at runs that should go on, from a thread; yields what says which one has ended, and how."""
    found, stopped = list[str](), threading.Event()

    def look() -> None:
        with get_client(sync_client=True) as client:
            while not found and not stopped.wait(_LOOK_EVERY_S):
                try:
                    states = [client.read_flow_run(run.id) for run in runs]
                except (httpx.HTTPError, ObjectNotFound):
                    continue  # the server restarts
                found.extend(
                    f"the run {each.name!r} ended as {end_of(each)}"
                    for each in states
                    if each.state is not None and each.state.is_final()
                )

    thread = threading.Thread(target=contextvars.copy_context().run, args=(look,), daemon=True)
    thread.start()
    try:
        yield lambda: found[0] if found else None
    finally:
        stopped.set()
        thread.join()


async def _end(runs: Sequence[FlowRun]) -> None:
    """Wait for the runs, which see that they are not needed any more; cancel those that do not end."""
    async with get_client() as client:
        deadline = asyncio.get_running_loop().time() + _END_WITHIN_S
        for run in runs:
            while True:
                state = (await client.read_flow_run(run.id)).state
                if state is not None and state.is_final():
                    break
                waits = state is not None and (state.is_scheduled() or state.is_pending())
                if waits or asyncio.get_running_loop().time() > deadline:
                    await client.set_flow_run_state(run.id, Cancelling(message="node 0 has ended"))
                    break
                await asyncio.sleep(1.0)
