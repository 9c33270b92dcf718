"""A further node of a training that a worker runs: when it ends, and what is checked before it starts."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Crashed, Running

from figa_core.errors import ConfigError, TrainingError
from figa_core.inference.shard_folder import LifeWatch
from figa_core.training.nodes.board import Board, Meeting, Notice
from figa_core.training.nodes.join import AttemptError
from flows import further_nodes as module
from flows import train_rank as flow_module
from flows.further_nodes import further_nodes, watched
from flows.progress import Lines, showing
from flows.server.names import GPU_POOL
from flows.train_rank import train_rank
from tasks.workspace import Workspace


@flow(name="first-node-of-a-test")
def first_node() -> None: ...


@asynccontextmanager
async def running() -> AsyncIterator[FlowRun]:
    """A run that nobody executes, as node 0's."""
    async with get_client() as client:
        yield await client.create_flow_run(first_node, state=Running())


async def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.05)


async def test_a_node_ends_with_its_session(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    class Looked(Board):
        def read(self) -> Notice | None:
            found = super().read()
            looked.set()
            return found

    monkeypatch.setattr(flow_module, "Board", Looked)
    board = Board(Workspace(tmp_path).nodes_board, "session")
    board.clear()
    async with running() as run:
        end = train_rank.fn(tmp_path, "session", 1, run.id)
        node = asyncio.create_task(asyncio.to_thread(asyncio.run, end))
        await until(looked.is_set)
        assert not node.done()
        board.end()
        await node


async def test_a_node_ends_with_the_run_of_node_0(prefect_api: str, tmp_path: Path) -> None:
    Board(Workspace(tmp_path).nodes_board, "session").clear()
    async with running() as run, get_client() as client:
        await client.set_flow_run_state(run.id, Crashed(message="no sign of life"), force=True)
        with pytest.raises(TrainingError, match=f"the run '{run.name}' ended as Crashed: no sign of life"):
            await asyncio.to_thread(asyncio.run, train_rank.fn(tmp_path, "session", 1, run.id))


async def test_a_node_that_waits_ends_when_the_machine_of_node_0_is_lost(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_module, "LifeWatch", partial(LifeWatch, lost_after_s=0.1))
    board = Board(Workspace(tmp_path).nodes_board, "session")
    board.clear()
    board.alive.write_text("7")  # and no further sign
    async with running() as run:
        with pytest.raises(TrainingError, match="node 0 showed no sign of life"):
            await asyncio.to_thread(asyncio.run, train_rank.fn(tmp_path, "session", 1, run.id))


@pytest.mark.parametrize("failing", ["first", "second"])
async def test_a_node_goes_on_with_node_0_after_a_training_that_stopped(
    failing: str, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attended: list[str] = []

    def take_part(meeting: Meeting, *_: object, **__: object) -> None:
        attended.append(meeting.attempt)
        if meeting.attempt == failing:
            raise AttemptError("the loss is nan")

    called = [Meeting(name, tmp_path / "t" / "job.json", "127.0.0.1", 1, 2) for name in ("first", "second")]
    monkeypatch.setattr(flow_module, "meetings", lambda *_, **__: iter(called))
    monkeypatch.setattr(flow_module, "take_part", take_part)
    last = pytest.raises(AttemptError, match="nan") if failing == "second" else nullcontext()
    async with running() as run:
        with last:
            await train_rank.fn(tmp_path, "session", 1, run.id)
    assert attended == ["first", "second"]


@pytest.mark.parametrize("state", [Completed(), Crashed(message="killed")], ids=["completed", "crashed"])
async def test_the_end_of_a_node_is_a_problem_of_the_others(state: object, prefect_api: str) -> None:
    async with running() as run, get_client() as client:
        with watched([run]) as problem:
            await asyncio.sleep(0.3)
            assert problem() is None
            await client.set_flow_run_state(run.id, state, force=True)  # pyright: ignore[reportArgumentType]
            await until(problem)
            assert str(problem()).startswith(f"the run '{run.name}' ended as ")


async def test_one_node_and_a_run_without_a_worker_start_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    async with further_nodes(workspace, 2, "train") as others:
        assert others is None, "a run on the command line"
    monkeypatch.setattr(module, "started_by_worker", lambda: True)
    async with further_nodes(workspace, 1, "train") as others:
        assert others is None
    assert not workspace.nodes_board.exists()


async def test_a_pool_that_runs_too_few_at_a_time_is_refused_with_the_command_that_changes_it(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "started_by_worker", lambda: True)
    remedy = "prefect work-pool update gpu --concurrency-limit 2"
    async with _pool_of(1):
        with showing(Lines(lambda _: None)), pytest.raises(ConfigError, match=remedy):
            async with further_nodes(Workspace(tmp_path), 2, "train"):
                pass


async def test_a_second_training_on_several_machines_is_refused_and_leaves_the_first_its_board(
    prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "started_by_worker", lambda: True)
    workspace = Workspace(tmp_path)
    board = Board(workspace.nodes_board, "first")
    board.clear()
    refused = pytest.raises(TrainingError, match="another training on several machines is under way")
    async with _pool_of(2):
        with FileLock(f"{board.path}.lock"), showing(Lines(lambda _: None)), refused:
            async with further_nodes(workspace, 2, "train"):
                pass
    assert board.read() == Notice("first")


@asynccontextmanager
async def _pool_of(limit: int) -> AsyncIterator[None]:
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=GPU_POOL, type="process", concurrency_limit=limit))
        try:
            yield
        finally:
            await client.delete_work_pool(GPU_POOL)
