"""One comparison: each method at each number of pairs is trained, judged, and becomes a row of the table."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from figa_core.config import PipelineConfig
from figa_core.errors import EvaluationError
from figa_core.evaluation.parts import validation_part
from figa_core.inference.vllm_python import vllm_version
from figa_core.report.configuration import library_versions
from figa_core.report.methods.data import (
    CurvePoint,
    MethodOutcome,
    MethodsData,
    Outcome,
    TrainingOutcome,
    best_rate,
    best_training,
)
from figa_core.rl.job import RlJob
from figa_core.shards.sizes import ShardSizes
from figa_core.storage.prompts import types_of
from figa_core.storage.responses import chosen_prompts
from figa_core.training.checkpoints import read_manifest
from flows.comparison.judging import Judging
from flows.comparison.trainings import ended_as, train_contender
from flows.run.open_run import OpenRun
from flows.run.story import Story
from tasks.compare import (
    Contender,
    Planned,
    after_steps,
    drop_checkpoints,
    drop_models,
    held_out,
    kl_from_base,
    made_all_steps,
    remark,
    shared_curve,
)
from tasks.method_costs import data_cost, pass_cost, share_of, training_cost
from tasks.reinforcement import methods_by_rewards, record_rl, trl_versions
from tasks.report import time_of_report
from tasks.reward_facts import dependent_sentence
from tasks.rl_rewards import rewards_learnt_from
from tasks.train import record_training, trained_model


class Contest:
    """In a run that holds its workspace and has its pairs."""

    def __init__(self, story: Story, run: OpenRun, config: PipelineConfig, sizes: ShardSizes) -> None:
        """`begin` first.

        Raises:
            EvaluationError: there are too few held-out prompts.
        """
        self._story, self._run, self._config, self._sizes = story, run, config, sizes
        prompts = chosen_prompts(run.workspace.database, held_out(run.run_id, config, ""))
        self._validation = validation_part(prompts, config.compare.validation_share)
        self._data_cost = data_cost(run.workspace, run.run_id, run.generator, config, sizes)
        self._judging = Judging(story, run, config)
        self._base: dict[str, float] = {}

    async def begin(self) -> None:
        """Judge the untrained model.

        Raises:
            EngineError, EvaluationError: too many answers cannot be drawn or judged.
            EvaluationError: of the prompts that judge, none has a score of it; nothing was trained.
        """
        scores = await self._judging.base()
        self._base = self._part(scores, validation=False)
        if not self._base:
            raise EvaluationError(
                f"{len(scores):,} held-out prompts have a score of the base model, and all of them choose "
                "learning rates: none is left to judge the methods by. Raise prompts.held_out_share or "
                "evaluation.max_prompts, or give more prompts."
            )

    async def outcome(self, contender: Contender) -> MethodOutcome:
        """Train, sample and judge one method at one number of pairs; what is stored is not repeated.

        Raises: see `train_contender`.
        """
        method, config = contender.method, self._config
        share = min(1.0, contender.pairs / max(self._sizes.pairs, 1))
        trainings, open_rates = await self._trainings(contender)
        outcome = MethodOutcome(
            name=method.name,
            objective=method.objective,
            pairs=contender.pairs,
            trainings=trainings,
            open_rates=open_rates,
            unable=contender.unable,
            data_cost=share_of(self._data_cost, method, config, share),
            pass_cost=pass_cost(method, config, self._sizes),
        )
        outcome = replace(outcome, after_steps=await self._after_steps(contender, outcome))
        return self._with_curve(contender, outcome)

    async def _after_steps(self, contender: Contender, outcome: MethodOutcome) -> tuple[CurvePoint, ...]:
        """The scores after some of the steps, and those of the whole trainings, as asked for."""
        run, config = self._run, self._config
        rate = None if outcome.open_rates else outcome.learning_rate
        shorter = [] if rate is None else after_steps(run.workspace, config, contender, rate)
        points = list[CurvePoint]()
        for steps, cut_off in shorter:
            trainings = await self._ended(cut_off)
            points.append(CurvePoint(steps, self._kept(cut_off, trainings, best=None)))
        whole = {each.job.training_id: each.job for each in contender.trainings if made_all_steps(each)}
        chosen = tuple(each for each in outcome.chosen if each.training_id in whole)
        if points and chosen:
            points.append(CurvePoint(whole[chosen[0].training_id].steps, chosen))
        return tuple(points)

    def data(self, methods: Sequence[MethodOutcome]) -> MethodsData:
        """What the report shows."""
        return MethodsData(
            workspace=self._config.workspace.name,
            run_id=self._run.run_id,
            created_at=time_of_report(),
            metric=self._judging.metric,
            base=self._base,
            methods=tuple(methods),
            validation_prompts=len(self._validation),
            against=self._config.compare.against,
            types=types_of(self._run.workspace.database, self._run.run_id),
            rewards=rewards_learnt_from(self._config) if any(methods_by_rewards(self._config)) else (),
            dependent_judge=dependent_sentence(self._config) or "",
            versions=library_versions() | vllm_version() | trl_versions(self._config),
        )

    async def _trainings(self, contender: Contender) -> tuple[tuple[TrainingOutcome, ...], tuple[float, ...]]:
        """Those of the sweep, then those of the other seeds at the rate that it chose; and the open rates.

        While a rate is open, another one may be the best of all in the end: none is chosen for further seeds.
        """
        compare = self._config.compare
        found = await self._ended(contender.sweep(compare))
        open_rates = rates_to_try_again(found, self._judging.unfit)
        others = contender.after_sweep(compare, best_rate(found))
        if not open_rates:
            found += await self._ended(others)
        elif others.trainings:
            rates = ", ".join(f"{rate:g}" for rate in open_rates)
            self._story.progress.line(
                f"{contender.method.name}, {contender.pairs:,} pairs: other seeds wait until rate {rates} is "
                "judged, because it may be the best; run the same command again"
            )
        return self._kept(contender, found, best_training(found)), open_rates

    async def _ended(self, contender: Contender) -> tuple[TrainingOutcome, ...]:
        if not contender.trainings:
            return ()
        ended = await train_contender(self._story, self._run, self._config, contender)
        judged, failed = await self._judging.contender(contender)
        found: list[TrainingOutcome] = []
        for each in contender.trainings:
            training_id = each.job.training_id
            if training_id in judged:
                found.append(self._judged(each, self._judging.scores(judged[training_id])))
            else:
                reason = failed.get(training_id, "it did not finish.")
                found.append(ended.get(training_id) or ended_as(each, Outcome.FAILED, reason))
        return tuple(found)

    def _judged(self, each: Planned, scores: Mapping[str, float]) -> TrainingOutcome:
        return TrainingOutcome(
            learning_rate=each.learning_rate,
            seed=each.seed,
            training_id=each.job.training_id,
            outcome=Outcome.JUDGED,
            reason=remark(each.job),
            validation=self._part(scores, validation=True),
            judged=self._part(scores, validation=False),
            cost=training_cost(each),
            kl_from_base=kl_from_base(each),
        )

    def _part(self, scores: Mapping[str, float], *, validation: bool) -> dict[str, float]:
        return {
            prompt: score for prompt, score in scores.items() if (prompt in self._validation) == validation
        }

    def _kept(
        self,
        contender: Contender,
        trainings: tuple[TrainingOutcome, ...],
        best: TrainingOutcome | None,
    ) -> tuple[TrainingOutcome, ...]:
        """Drop the models that the settings do not keep, but for the best, and record the others."""
        run = self._run
        if self._config.compare.keep_models == "best":
            judged = {each.training_id for each in trainings if each.outcome is Outcome.JUDGED}
            finished = [each for each in contender.trainings if each.job.training_id in judged]
            drop_models(run.workspace, finished, keep=best.training_id if best else None)
            diverged = {each.training_id for each in trainings if each.outcome is Outcome.DIVERGED}
            drop_checkpoints(each for each in contender.trainings if each.job.training_id in diverged)
        there = {each.job.training_id: each for each in contender.trainings if read_manifest(each.job.output)}
        for job in (each.job for each in there.values()):
            if not isinstance(job, RlJob):
                record_training(run.workspace, run.run_id, job, trained_model(job), of_run=False)
            elif manifest := read_manifest(job.output):
                record_rl(run.workspace, run.run_id, job, manifest)
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
        planned = next(each for each in contender.trainings if each.job.training_id == shown)
        return replace(outcome, curve=shared_curve(planned, outcome.name))


def rates_to_try_again(sweep: Sequence[TrainingOutcome], unfit: Collection[str]) -> tuple[float, ...]:
    """The rates, ascending, that the same command may still judge; `unfit`: ids that it never will."""
    failed = (each for each in sweep if each.outcome is Outcome.FAILED and each.training_id not in unfit)
    return tuple(sorted({each.learning_rate for each in failed}))
