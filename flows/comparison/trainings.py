"""Runs the trainings of one method that have no result yet: on the GPU pool, or one after another here."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext

from prefect.client.orchestration import get_client

from figa_core.config import PipelineConfig
from figa_core.errors import ConfigError, FigaError, TrainingError, WorkspaceError, one_line
from figa_core.ports import ProgressCallback
from figa_core.report.methods.data import Outcome, TrainingOutcome
from figa_core.rl.job import RlJob
from figa_core.training.checkpoints import read_manifest
from figa_core.training.failures import divergence
from flows.progress import current
from flows.run.apart import apart
from flows.run.open_run import OpenRun
from flows.run.story import Story
from flows.server.elsewhere import run_elsewhere
from flows.server.names import GPU_POOL, TRAIN_BY_REWARDS
from flows.train_by_rewards import run_name_of, send_rl_inputs
from flows.train_model import SAME_PATH, train_where_deployed, trains_elsewhere
from tasks.artifacts import Artifacts
from tasks.compare import Contender, Planned, is_answered
from tasks.method_costs import training_cost
from tasks.reinforcement import train_rl
from tasks.results import StageCounts, no_progress
from tasks.workspace import Workspace

_AT_ONCE = 4  # if the pool has no limit


async def train_contender(
    story: Story, run: OpenRun, config: PipelineConfig, contender: Contender
) -> dict[str, TrainingOutcome]:
    """Train what is neither finished nor judged; returns the trainings without a result, by training id.

    Raises:
        ConfigError, WorkspaceError, InputError: every other training would end so too.
        InterruptedRunError: somebody asked to stop.
    """
    todo, ended = [], dict[str, TrainingOutcome]()
    for each in contender.trainings:
        output = each.job.output
        if read_manifest(output) is not None or is_answered(run.workspace, run.run_id, config, output):
            continue
        if (diverged := _diverged(each)) is not None:
            ended[each.job.training_id] = diverged
        else:
            todo.append(each)
    if todo:
        run.engines.end()  # the trainings need the memory
        trainings = _Trainings(story, run, contender, config.storage.artifacts)
        found = await (trainings.elsewhere(todo) if await trains_elsewhere() else trainings.here(todo))
        ended |= {each.training_id: each for each in found if each is not None}
    return ended


class _Trainings:
    def __init__(self, story: Story, run: OpenRun, contender: Contender, artifacts: str | None) -> None:
        self._story, self._run, self._artifacts = story, run, artifacts
        self._title = f"train {contender.method.name}, {contender.pairs:,} pairs"

    async def here(self, todo: Sequence[Planned]) -> list[TrainingOutcome | None]:
        """One after another; None for each that finished."""
        found = []
        for each in todo:
            with self._story.stage(f"{self._title}, {_which(each)}") as stage:
                found.append(await self._train(each, stage.show))
                stage.counts = StageCounts(each.job.steps, each.job.steps if found[-1] is None else 0)
            self._tell(found[-1])
        return found

    async def elsewhere(self, todo: Sequence[Planned]) -> list[TrainingOutcome | None]:
        """As many at once as the pool runs, so that other runs get their turn there."""
        async with get_client() as client:
            pool = await client.read_work_pool(GPU_POOL)
        places, done = asyncio.Semaphore(at_once(todo, pool.concurrency_limit)), list[Planned]()
        with self._story.stage(self._title) as stage:

            async def one(each: Planned) -> TrainingOutcome | None:
                async with places:
                    ended = await self._train(each, no_progress)
                done.append(each)
                stage.show(len(done), len(todo))
                return ended

            found = await asyncio.gather(*map(one, todo))
            stage.counts = StageCounts(len(todo), sum(ended is None for ended in found))
        for ended in found:
            self._tell(ended)
        return list(found)

    async def _train(self, each: Planned, on_progress: ProgressCallback) -> TrainingOutcome | None:
        workspace = self._run.workspace
        try:
            if isinstance(each.job, RlJob):
                await _train_by_rewards(workspace, each.job, self._artifacts, on_progress)
            else:
                assert each.spec is not None
                log = workspace.training_log(each.job.objective, each.job.training_id)
                await train_where_deployed(each.job, each.spec, log, on_progress=on_progress)
        except (ConfigError, WorkspaceError):
            raise
        except FigaError as error:
            # A plain FigaError is that of a run on the pool, see `run_elsewhere`.
            if type(error) is not FigaError and not isinstance(error, TrainingError):
                raise
            return _diverged(each) or ended_as(each, Outcome.FAILED, one_line(error) + ".")
        return None

    def _tell(self, ended: TrainingOutcome | None) -> None:
        if ended is not None:
            rate = f"rate {ended.learning_rate:g}, seed {ended.seed}"
            self._story.progress.line(f"{self._title}, {rate}: {ended.outcome}: {ended.reason}")


def at_once(todo: Sequence[Planned], limit: int | None) -> int:
    """How many trainings run at once on a pool with this limit.

    Those on several machines run one by one: the first machines of two could take all places of the pool, and
    then each would wait forever for its other nodes.
    """
    meet = any(each.spec is not None and each.spec.training.nodes > 1 for each in todo)
    return 1 if meet else limit or _AT_ONCE


async def _train_by_rewards(
    workspace: Workspace, job: RlJob, artifacts: str | None, on_progress: ProgressCallback
) -> None:
    """On the GPU pool if there is one, otherwise in this process."""
    store = Artifacts.of(workspace, artifacts, lambda text: current().line(text))
    if store is not None:
        await apart(store.fetch_result, job.output)
    if read_manifest(job.output) is not None:
        return
    if await trains_elsewhere():
        file = job.write()
        if store is not None:
            await apart(store.send_file, file)
            await apart(send_rl_inputs, store, job)
        parameters = {"job": str(file), "artifacts": artifacts}
        try:
            await run_elsewhere(TRAIN_BY_REWARDS, run_name_of(job), parameters, pool=GPU_POOL)
        finally:
            if store is not None:
                await apart(store.fetch_result, job.output)  # of a training that failed, its figures and why
        if read_manifest(job.output) is None:
            raise TrainingError(
                f"{TRAIN_BY_REWARDS} completed, but {job.output} holds no finished training here. {SAME_PATH}"
            )
    else:
        log = workspace.training_log(job.objective, job.training_id)
        with nullcontext() if store is None else store.training(job.output):
            train_rl(job, log, on_progress=on_progress)


def ended_as(each: Planned, outcome: Outcome, reason: str) -> TrainingOutcome:
    """A training without scores."""
    return TrainingOutcome(
        learning_rate=each.learning_rate,
        seed=each.seed,
        training_id=each.job.training_id,
        outcome=outcome,
        reason=reason,
        cost=training_cost(each),
    )


def _diverged(each: Planned) -> TrainingOutcome | None:
    reason = divergence(each.job.output)
    return None if reason is None else ended_as(each, Outcome.DIVERGED, reason)


def _which(each: Planned) -> str:
    return f"rate {each.learning_rate:g}, seed {each.seed}"
