"""How the trainings of a comparison are run and judged, one method at one number of pairs after another."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prefect.client.orchestration import get_client

from figa_core.config import PipelineConfig
from figa_core.errors import ConfigError, FigaError, TrainingError, WorkspaceError, one_line
from figa_core.evaluation.parts import validation_part
from figa_core.records import Split
from figa_core.report.comparison import Metric
from figa_core.report.methods.data import (
    MethodOutcome,
    MethodsData,
    Outcome,
    TrainingOutcome,
    best_training,
)
from figa_core.shards.sizes import ShardSizes
from figa_core.storage.evaluations import prompt_values
from figa_core.storage.responses import chosen_prompts
from figa_core.storage.scores import responses_of
from figa_core.training.checkpoints import check_exported, read_manifest
from figa_core.training.failures import root_failure
from flows.run.open_run import OpenRun
from flows.run.story import RunningStage, Story
from flows.server.names import GPU_POOL
from flows.train_model import log_of, train_where_deployed, trains_elsewhere
from tasks.compare import (
    Contender,
    Planned,
    data_cost,
    drop_models,
    held_out,
    is_answered,
    pass_cost,
    share_of,
    trained_generator,
    training_cost,
    without_update,
)
from tasks.evaluate import held_out_sampling, verifier_id, verify
from tasks.generate import generate, generator_id
from tasks.report import curve_of, time_of_report
from tasks.results import StageCounts
from tasks.score import score
from tasks.train import record_training, trained_model

_AT_ONCE = 4  # if the pool has no limit


@dataclass(frozen=True, slots=True)
class _Values:
    """One model's scores on the two parts of the held-out prompts."""

    validation: dict[str, float]
    judged: dict[str, float]


class Contest:
    """The trainings and judgements of one comparison, in a run that holds its workspace."""

    def __init__(self, story: Story, run: OpenRun, config: PipelineConfig, sizes: ShardSizes) -> None:
        """Raises EvaluationError if there are too few held-out prompts."""
        self._story, self._run, self._config, self._sizes = story, run, config, sizes
        self._metric = Metric.REWARD if config.evaluation.verifier is None else Metric.VERIFIER
        prompts = chosen_prompts(run.workspace.database, held_out(run.run_id, config, ""))
        self._validation = validation_part(prompts, config.compare.validation_share)
        self._data_cost = data_cost(run.workspace, run.run_id, run.generator, config, sizes)
        self._base: dict[str, float] = {}

    def judge_base(self) -> None:
        """Let the untrained model answer the held-out prompts, and judge the answers."""
        run, config = self._run, self._config
        sampling = held_out_sampling(config.evaluation, config.generation.model)
        with self._story.stage("base: generate") as stage:
            stage.counts = self._generate(stage, [config.generation.model])
        generator = generator_id(run.workspace, config.generation, sampling)
        self._judge("base", [generator])
        self._base = self._values(generator).judged

    async def outcome(self, contender: Contender) -> MethodOutcome:
        """Train, sample and judge one method at one number of pairs; what is stored is not repeated."""
        name, method, config = contender.method.name, contender.method, self._config
        share = min(1.0, contender.pairs / max(self._sizes.pairs, 1))
        trainings: tuple[TrainingOutcome, ...] = ()
        if not contender.unable:
            reasons = await self._train(contender)
            finished = self._sample(contender)
            self._judge(f"{name}, {contender.pairs:,} pairs", list(finished.values()))
            trainings = tuple(self._training(each, finished, reasons) for each in contender.trainings)
            trainings = self._kept(contender, trainings)
        outcome = MethodOutcome(
            name=name,
            objective=method.objective,
            pairs=contender.pairs,
            trainings=trainings,
            unable=contender.unable,
            data_cost=share_of(self._data_cost, method, config, share),
            pass_cost=pass_cost(method, config, self._sizes),
        )
        return self._with_curve(contender, outcome)

    def data(self, methods: Sequence[MethodOutcome]) -> MethodsData:
        """What the report shows."""
        return MethodsData(
            workspace=self._config.workspace.name,
            run_id=self._run.run_id,
            created_at=time_of_report(),
            metric=self._metric,
            base=self._base,
            methods=tuple(methods),
            validation_prompts=len(self._validation),
            against=self._config.compare.against,
        )

    async def _train(self, contender: Contender) -> dict[str, TrainingOutcome]:
        """Run what has no result yet; returns what came of the trainings without one, by training id."""
        run, config = self._run, self._config
        open_trainings = [
            each
            for each in contender.trainings
            if not is_answered(run.workspace, run.run_id, config, each.job.output)
            and read_manifest(each.job.output) is None
        ]
        failed = {each.job.training_id: bad for each in open_trainings if (bad := _diverged(each))}
        todo = [each for each in open_trainings if each.job.training_id not in failed]
        if not todo:
            return failed
        run.engines.end()  # the trainings need the memory
        if await trains_elsewhere():
            at_once = asyncio.Semaphore(await _at_once())
            title = f"train {contender.method.name}, {contender.pairs:,} pairs"
            with self._story.stage(title) as stage:
                done: list[str] = []

                async def one(each: Planned) -> TrainingOutcome | None:
                    async with at_once:
                        bad = await self._train_one(contender, each, None)
                    done.append(each.job.training_id)
                    stage.show(len(done), len(todo))
                    return bad

                outcomes = await asyncio.gather(*map(one, todo))
                stage.counts = StageCounts(len(todo), sum(bad is None for bad in outcomes))
        else:
            outcomes = [await self._train_here(contender, each) for each in todo]
        return failed | {bad.training_id: bad for bad in outcomes if bad is not None}

    async def _train_here(self, contender: Contender, each: Planned) -> TrainingOutcome | None:
        title = f"train {contender.method.name}, {contender.pairs:,} pairs, {_which(each)}"
        with self._story.stage(title) as stage:
            bad = await self._train_one(contender, each, stage)
            stage.counts = StageCounts(each.job.steps, 0 if bad else each.job.steps)
        if bad is not None:
            self._story.progress.line(f"{title}: {bad.outcome}: {bad.reason}")
        return bad

    async def _train_one(
        self, contender: Contender, each: Planned, stage: RunningStage | None
    ) -> TrainingOutcome | None:
        """None if it finished."""
        name = f"{self._config.workspace.name}: train {contender.method.name}, {contender.pairs} pairs, "
        log = log_of(self._run.workspace, each.job)
        show = stage.show if stage else lambda _done, _total: None
        try:
            await train_where_deployed(each.job, each.spec, log, name + _which(each), on_progress=show)
        except (ConfigError, WorkspaceError):
            raise  # every other training would end so
        except FigaError as error:
            if type(error) is not FigaError and not isinstance(error, TrainingError):
                raise
            return _diverged(each) or _bad(each, Outcome.FAILED, one_line(error) + ".")
        return None

    def _sample(self, contender: Contender) -> dict[str, str]:
        """Let every finished model answer; returns the generator id of each by training id."""
        run, config = self._run, self._config
        finished: dict[str, str] = {}
        missing = []
        for each in contender.trainings:
            generator = trained_generator(run.workspace, config, each.job.output)
            if generator is not None:
                finished[each.job.training_id] = generator
                if not is_answered(run.workspace, run.run_id, config, each.job.output):
                    check_exported(each.job.model_dir)
                    missing.append(each.job.model_dir)
        if missing:
            with self._story.stage(f"{contender.method.name}, {contender.pairs:,} pairs: generate") as stage:
                stage.counts = self._generate(stage, missing)
        return finished

    def _generate(self, stage: RunningStage, models: Sequence[Path]) -> StageCounts:
        run, config = self._run, self._config
        counts = [
            generate(
                run.workspace,
                run.run_id,
                config.generation,
                held_out_sampling(config.evaluation, model),
                config.prompts.max_prompt_tokens,
                engines=run.engines,
                on_progress=stage.on_progress,
            )
            for model in models
        ]
        return _sum(counts)

    def _judge(self, title: str, generators: Sequence[str]) -> None:
        run, config = self._run, self._config
        if not generators:
            return
        with self._story.stage(f"{title}: {self._metric}") as stage:
            if config.evaluation.verifier is not None:
                for generator in generators:
                    verify(
                        run.workspace, run.run_id, config.evaluation.verifier, generator, stage.on_progress
                    )
                stage.counts = StageCounts(len(generators), len(generators))
                return
            counts = [
                score(
                    run.workspace,
                    config.reward,
                    responses_of(run.run_id, generator, Split.HELD_OUT),
                    engines=run.engines,
                    on_progress=stage.on_progress,
                )
                for generator in generators
            ]
            stage.counts = _sum(counts)

    def _values(self, generator: str) -> _Values:
        run, config, spec = self._run, self._config, self._config.evaluation.verifier
        scorer = run.scorer if spec is None else verifier_id(spec)
        unit = 1.0 if spec is None else 100.0
        found = prompt_values(run.workspace.database, held_out(run.run_id, config, generator), scorer)
        values = {prompt: unit * value for prompt, value in found.items()}
        return _Values(
            {prompt: value for prompt, value in values.items() if prompt in self._validation},
            {prompt: value for prompt, value in values.items() if prompt not in self._validation},
        )

    def _training(
        self, each: Planned, finished: dict[str, str], reasons: dict[str, TrainingOutcome]
    ) -> TrainingOutcome:
        training_id = each.job.training_id
        if training_id not in finished:
            return reasons.get(training_id) or _bad(each, Outcome.FAILED, "it did not finish.")
        values = self._values(finished[training_id])
        return TrainingOutcome(
            learning_rate=each.learning_rate,
            seed=each.seed,
            training_id=training_id,
            outcome=Outcome.JUDGED,
            reason=without_update(each.job.output),
            validation=values.validation,
            judged=values.judged,
            cost=training_cost(each),
        )

    def _kept(
        self, contender: Contender, trainings: tuple[TrainingOutcome, ...]
    ) -> tuple[TrainingOutcome, ...]:
        """Drop the models that the settings do not keep, and record the others."""
        run, best = self._run, best_training(trainings)
        if self._config.compare.keep_models == "best":
            drop_models(run.workspace, contender.trainings, keep=best.training_id if best else None)
        there = {each.job.training_id: each for each in contender.trainings if read_manifest(each.job.output)}
        for each in there.values():
            record_training(run.workspace, run.run_id, each.job, trained_model(each.job), of_run=False)
        return tuple(
            replace(each, model=str(there[each.training_id].job.model_dir))
            if each.training_id in there
            else each
            for each in trainings
        )

    def _with_curve(self, contender: Contender, outcome: MethodOutcome) -> MethodOutcome:
        if not outcome.chosen:
            return outcome
        shown = outcome.chosen[0].training_id
        [job] = [each.job for each in contender.trainings if each.job.training_id == shown]
        curve = curve_of(job.output, job.objective)
        return replace(outcome, curve=replace(curve, label=outcome.name))


def _which(each: Planned) -> str:
    return f"rate {each.learning_rate:g}, seed {each.seed}"


def _bad(each: Planned, outcome: Outcome, reason: str) -> TrainingOutcome:
    return TrainingOutcome(
        learning_rate=each.learning_rate,
        seed=each.seed,
        training_id=each.job.training_id,
        outcome=outcome,
        reason=reason,
        cost=training_cost(each),
    )


def _diverged(each: Planned) -> TrainingOutcome | None:
    """A training that has ended with numbers that are not finite would end so again."""
    failure = root_failure(each.job.output)
    if failure is None or not failure.diverged:
        return None
    return _bad(each, Outcome.DIVERGED, failure.message)


def _sum(counts: Sequence[StageCounts]) -> StageCounts:
    reasons = sum((Counter(each.reasons) for each in counts), Counter[str]())
    return StageCounts(sum(each.n_in for each in counts), sum(each.n_out for each in counts), dict(reasons))


async def _at_once() -> int:
    """As many trainings as the pool runs at once, so that other runs get their turn there."""
    async with get_client() as client:
        pool = await client.read_work_pool(GPU_POOL)
    return pool.concurrency_limit or _AT_ONCE
