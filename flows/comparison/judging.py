"""Lets models answer the held-out prompts, and judges the answers; what is stored is not repeated."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from figa_core.config import PipelineConfig
from figa_core.errors import (
    BudgetReachedError,
    EngineError,
    EvaluationError,
    LLMError,
    RefusedRunError,
    TrainingError,
    UnjudgedAnswersError,
    one_line,
)
from figa_core.records import Split
from figa_core.report.comparison import Metric
from figa_core.storage.evaluations import prompt_values
from figa_core.storage.scores import responses_of
from figa_core.training.checkpoints import check_exported
from flows.run.open_run import OpenRun
from flows.run.story import RunningStage, Story
from flows.scoring import rate_texts
from tasks.compare import Contender, held_out, is_answered, trained_generator
from tasks.evaluate import check_held_out, held_out_sampling, verifier_id, verify
from tasks.generate import generate, generator_id
from tasks.results import StageCounts
from tasks.stored_thoughts import check_comparable


class Judging:
    """Of models by the verifier if the settings name one, otherwise by the judging reward."""

    def __init__(self, story: Story, run: OpenRun, config: PipelineConfig) -> None:
        self._story, self._run, self._config = story, run, config
        self.metric = Metric.REWARD if config.evaluation.verifier is None else Metric.VERIFIER
        self.unfit: set[str] = set()
        """Ids of trainings that the judge cannot score, however often it is asked."""

    async def base(self) -> Mapping[str, float]:
        """Prompt id → score of the untrained model.

        Raises:
            EngineError, EvaluationError, LLMError: too many answers cannot be drawn or judged.
            EvaluationError: there are no held-out prompts.
        """
        run, config, model = self._run, self._config, self._config.generation.model
        check_held_out(run.workspace, run.run_id, config)
        generator = generator_id(
            run.workspace, config.generation, held_out_sampling(config.evaluation, model)
        )
        with self._story.stage("base: generate") as stage:
            stage.counts = await self._generate(model, stage)
        with self._story.stage(f"base: {self.metric}") as stage:
            stage.counts = await self._judge(generator, stage)
        return self.scores(generator)

    async def contender(self, contender: Contender) -> tuple[dict[str, str], dict[str, str]]:
        """Judge the finished models of a method.

        Returns the generator id of each that was judged, and the reason of each that could not be, both by
        training id. The base model has been judged before, so what fails is one model, or a judge that does
        not answer for a while: then the trainings go on, and the next run asks for the scores.

        Raises:
            EvaluationError: see `check_comparable`.
            LLMError: the judge would refuse every other model, too: its key, quota or budget has ended.
        """
        run, config = self._run, self._config
        title = f"{contender.method.name}, {contender.pairs:,} pairs"
        generators: dict[str, str] = {}
        silent: dict[str, Path] = {}
        for each in contender.trainings:
            generator = trained_generator(run.workspace, config, each.job.output)
            if generator is not None:
                generators[each.job.training_id] = generator
                if not is_answered(run.workspace, run.run_id, config, each.job.output):
                    silent[each.job.training_id] = each.job.model_dir
        check_comparable(run.workspace, run.run_id, config, generators)
        failed = await self._each(f"{title}: generate", silent, self._generate_whole)
        answered = {key: generator for key, generator in generators.items() if key not in failed}
        failed |= await self._each(f"{title}: {self.metric}", answered, self._judge)
        return {key: generator for key, generator in answered.items() if key not in failed}, failed

    def scores(self, generator: str) -> dict[str, float]:
        """Prompt id → score, in the unit of the metric."""
        run, config, spec = self._run, self._config, self._config.evaluation.verifier
        scorer, unit = (run.rewards.judge.scorer, 1.0) if spec is None else (verifier_id(spec), 100.0)
        found = prompt_values(run.workspace.database, held_out(run.run_id, config, generator), scorer)
        return {prompt: unit * value for prompt, value in found.items()}

    async def _each(
        self, title: str, rows: Mapping[str, object], do: Callable[..., Awaitable[StageCounts]]
    ) -> dict[str, str]:
        """Do something for each row in one stage; returns why it failed, by the row's key."""
        failed: dict[str, str] = {}
        if not rows:
            return failed
        counts: list[StageCounts] = []
        with self._story.stage(title) as stage:
            for key, row in rows.items():
                try:
                    counts.append(await do(row, stage))
                except (EngineError, EvaluationError, LLMError, TrainingError) as error:
                    if _ends_the_judge(error):
                        raise _stopped(error) from error
                    if isinstance(error, UnjudgedAnswersError):
                        self.unfit.add(key)
                    failed[key] = f"its model cannot be judged: {one_line(error)}."
                    self._story.progress.line(f"{title}, training {key}: {failed[key]}")
            reasons = sum((Counter(each.reasons) for each in counts), Counter[str]())
            n_in, n_out = (sum(getattr(each, name) for each in counts) for name in ("n_in", "n_out"))
            stage.counts = StageCounts(n_in, n_out, dict(reasons))
        return failed

    async def _generate_whole(self, model: Path, stage: RunningStage) -> StageCounts:
        check_exported(model)
        return await self._generate(model, stage)

    async def _generate(self, model: Path, stage: RunningStage) -> StageCounts:
        run, config = self._run, self._config
        return generate(
            run.workspace,
            run.run_id,
            config.generation,
            held_out_sampling(config.evaluation, model),
            config.prompts.max_prompt_tokens,
            engines=run.engines,
            on_progress=stage.on_progress,
        )

    async def _judge(self, generator: str, stage: RunningStage) -> StageCounts:
        run, config, spec = self._run, self._config, self._config.evaluation.verifier
        if spec is not None:
            verify(run.workspace, run.run_id, spec, generator, stage.on_progress)
            return StageCounts(1, 1)
        texts = responses_of(run.run_id, generator, Split.HELD_OUT)
        return await rate_texts(self._story, run, config, run.rewards.judge, texts, stage)


def _ends_the_judge(error: BaseException) -> bool:
    """Whether the other models would get no score either, so that training them would be in vain."""
    return any(isinstance(each, (RefusedRunError, BudgetReachedError)) for each in (error, error.__cause__))


def _stopped(error: BaseException) -> LLMError:
    kind = RefusedRunError if isinstance(error, RefusedRunError) else LLMError
    return kind(
        f"{one_line(error)}. The judge would refuse the other models, too, so the comparison stops here: "
        "trainings that are finished, their answers and scores are kept. Correct the cause, then run the "
        "same command (in Prefect: Retry): it goes on with this one."
    )
