"""`figa study reward`: a run repeated with reward models degraded on purpose, judged by the verifier.

Each variant is a run of its own in the same workspace: its responses are the run's, and a pair that any run
has had revised is not revised again. Before the reviser is asked for anything new, the flow ends with the
number and the price, so that a person can decide; called again with `approved`, it continues from what is
stored. All variants are trained and judged within the run itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.config.file import anchor_paths
from figa_core.errors import OpenRevisionsError
from figa_core.storage import revisions
from figa_core.storage.pairs import RunScores
from figa_core.storage.runs import FAILED, INTERRUPTED, RUNNING, all_runs
from figa_core.study.reward.accuracy import Accuracy
from figa_core.study.reward.data import RewardStudy, VariantOutcome
from figa_core.study.reward.degrade import TRAINED
from figa_core.study.reward.pairs import read_pairs
from figa_core.study.reward.settings import RewardStudySettings
from figa_core.study.reward.text import lines_of
from figa_core.study.reward.train import HeadJob
from flows.build_dataset import choose
from flows.checks.study import check_reward_study
from flows.comparison.judging import Judging
from flows.comparison.variants import Chosen, accuracy_of, build_variants, choose_variant, outcome_of
from flows.plan import check_budget, plan_lines, plan_several
from flows.progress import current
from flows.run.artifacts import publish_study
from flows.run.open_run import OpenRun, identify, open_run
from flows.run.parameters import absolute, run_name
from flows.run.story import Story
from flows.server.elsewhere import started_by_worker
from tasks.report import time_of_report
from tasks.results import StageCounts
from tasks.study_report import write_reward_study
from tasks.study_reward import (
    StudyPairs,
    Variant,
    head_job,
    own_pairs,
    quantile_thresholds,
    second_answers,
    store_pairs,
    train_reward,
    variants_of,
)
from tasks.workspace import Workspace

CHOSEN, STUDIED = "pairs chosen", "reward studied"
_REMEDY = "To ask the reviser and go on, start the run again with `approved`."


@dataclass(frozen=True, slots=True)
class OpenRevisions:
    """The runs of a study have rows that the reviser was not asked for; nothing was spent on the study.

    `lines` say for people what asking it would cost.
    """

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RewardStudyResult:
    """The result of the flow: where the page is, what it shows, and the seconds of each stage."""

    page: Path
    study: RewardStudy
    seconds: dict[str, float]


def _run_name() -> str:
    return f"{run_name()}, reward studied"


@flow(name="study-reward", flow_run_name=_run_name, persist_result=False)
async def study_reward(
    config: PipelineConfig, settings: RewardStudySettings | None = None, approved: bool = False
) -> RewardStudyResult | OpenRevisions:
    """Repeat a run with degraded reward models, and compare the results.

    Run again with the same settings, it continues where it stopped: nothing is generated, paid for or
    trained twice.

    Args:
        config: The run. It needs a verifier and held-out prompts.
        settings: How the reward models are made.
        approved: Whether the reviser may be asked for what other rewards keep.

    Raises:
        ConfigError: there is nothing to judge by, the settings do not fit a study, or the budget does not
            suffice for what the reviser would be asked; or see `figa`.
        OpenRevisionsError: the flow was started from a deployment without `approved`, and the reviser would
            be asked for more. The message has the number and the price.
        InputError: there are too few preference pairs.
        EvaluationError: there are no held-out prompts to judge by; nothing was trained or paid for.
        FigaError: what was wrong, where, and what to do; what was done before is stored.
    """
    settings = _with_absolute_paths(settings or RewardStudySettings())
    config, progress = anchor_paths(config, Path.cwd()), current()
    check_reward_study(config, settings)
    story, name = Story(progress), flow_run.name or "study-reward"
    with open_run(config, name, progress, reaches=_reached(config)) as run:
        await choose(story, run, config, held_out_least=1)
        prepared = await _prepare(story, run, config, settings)
    variants = prepared.variants
    chosen = {variants[0].key: Chosen(run.run_id, prepared.accuracy)}
    for variant in variants[1:]:
        progress.line(f"variant: {variant.label}")
        with open_run(variant.config, name, progress, reaches=_reached(variant.config)) as other:
            chosen[variant.key] = await choose_variant(story, other, variant, prepared.pairs)
    workspace = run.workspace
    able = [each for each in variants if not chosen[each.key].unable]
    open_ = [each for each in able if revisions.count_open(workspace.database, chosen[each.key].run_id)]
    if open_:
        plan = plan_several([each.config for each in able])
        check_budget(plan)
        if not approved:
            return _unapproved(tuple(plan_lines(plan, config.revision.model)))
    runs = {each.key: chosen[each.key].run_id for each in able}
    built = await build_variants(story, name, able, runs)
    with open_run(config, name, progress, reaches=STUDIED) as run:
        judging = Judging(story, run, config)
        found = [
            await outcome_of(story, run, config, judging, each, chosen[each.key], built.get(each.key))
            for each in variants
        ]
        study = _study(run, config, prepared, found)
        page = write_reward_study(run.workspace, study)
        await publish_study(run, study, page)
        for line in lines_of(study):
            progress.line(line)
        progress.line(f"Page: {page.resolve().as_uri()}")
    return RewardStudyResult(page, study, story.seconds)


def _with_absolute_paths(settings: RewardStudySettings) -> RewardStudySettings:
    """Paths typed into a form may be relative."""
    given = {"pairs": settings.pairs, "start": settings.start}
    return settings.model_copy(
        update={name: absolute(f"settings.{name}", path) for name, path in given.items() if path}
    )


def _unapproved(lines: tuple[str, ...]) -> OpenRevisions:
    """What a person must decide; a deployed run fails with it, because "Completed" would promise a study."""
    if started_by_worker():
        raise OpenRevisionsError("\n".join([*lines, f"Nothing was spent. {_REMEDY}"]))
    return OpenRevisions(lines)


def _reached(config: PipelineConfig) -> str:
    """What a run has reached once its pairs are chosen: what it had reached before, if that was more."""
    workspace = Workspace(config.workspace.path)
    if workspace.database.path.is_file():
        run_id = identify(workspace, config).run_id
        for known in all_runs(workspace.database):
            if known.run_id == run_id and known.status not in (RUNNING, FAILED, INTERRUPTED):
                return known.status
    return CHOSEN


@dataclass(frozen=True, slots=True)
class _Prepared:
    variants: list[Variant]
    pairs: StudyPairs
    accuracy: Accuracy
    base: Mapping[str, float]
    figures: Mapping[str, Mapping[str, float]]


async def _prepare(
    story: Story, run: OpenRun, config: PipelineConfig, settings: RewardStudySettings
) -> _Prepared:
    """The pairs, the reward models, and the variants, the run itself first.

    Raises:
        EvaluationError: there are no held-out prompts; nothing was trained or paid for.
        FigaError: what was wrong, where, and what to do.
    """
    base = await Judging(story, run, config).base()
    pairs = _pairs(story, run, config, settings)
    measured = await accuracy_of(story, run, config, pairs)
    run.engines.end()  # the trainings need the memory
    jobs: dict[str, HeadJob] = {}
    figures: dict[str, Mapping[str, float]] = {}
    for each in TRAINED:
        job = jobs[each.key] = head_job(run.workspace, config, settings, pairs, each)
        with story.stage(f"train a reward model: {each.label}", stopping="it begins anew") as stage:
            figures[each.key] = train_reward(run.workspace, job)
            stage.counts = StageCounts(job.steps, int(figures[each.key]["steps"]))
    scores = RunScores(run.run_id, run.generator, run.rewards.filter.scorer)
    filtering = quantile_thresholds(run.workspace, run.run_id, config.filter, scores)
    return _Prepared(variants_of(config, settings, filtering, jobs), pairs, measured, base, figures)


def _pairs(story: Story, run: OpenRun, config: PipelineConfig, settings: RewardStudySettings) -> StudyPairs:
    workspace, verifier = run.workspace, config.evaluation.verifier
    assert verifier is not None, "check_reward_study asks for it"
    if settings.pairs is not None:
        found = read_pairs(settings.pairs)
        return store_pairs(workspace, found, settings.held_out_share, settings.pairs.name)
    generators = [run.generator]
    if config.generation.samples_per_prompt == 1:
        with story.stage("generate second answers") as stage:
            generator, stage.counts = second_answers(
                workspace,
                run.run_id,
                config,
                settings.prompts_max,
                engines=run.engines,
                on_progress=stage.on_progress,
            )
        generators.append(generator)
    with story.stage("label pairs by the verifier") as stage:
        found = own_pairs(
            workspace, run.run_id, verifier, generators, settings.prompts_max, stage.on_progress
        )
        stage.counts = StageCounts(len(found), len(found))
    source = "the model's own answers, labelled by the verifier"
    return store_pairs(workspace, found, settings.held_out_share, source)


def _study(
    run: OpenRun, config: PipelineConfig, prepared: _Prepared, found: Sequence[VariantOutcome]
) -> RewardStudy:
    variants = tuple(replace(each, figures=prepared.figures.get(each.key, {})) for each in found)
    filtering = prepared.variants[-1].config.filter
    names = ("response_reward_below", "reference_reward_above", "reward_gap_above")
    training, held_out = prepared.pairs.counts
    return RewardStudy(
        workspace=config.workspace.name,
        run_id=run.run_id,
        created_at=time_of_report(),
        verifier=config.evaluation.verifier or "",
        base=prepared.base,
        variants=variants,
        training_pairs=training,
        held_out_pairs=held_out,
        pairs_from=prepared.pairs.source,
        thresholds={name: str(getattr(filtering, name)) for name in names},
        seeds=config.compare.seeds,
        notes=tuple(_notes(config)),
    )


def _notes(config: PipelineConfig) -> Iterator[str]:
    if config.admission.reward_gain_above:
        yield (
            f"admission.reward_gain_above = {config.admission.reward_gain_above:g} is in the units of each "
            "reward, whose scales differ: the rewards may differ in how many revisions they admit for that "
            "alone. 0 has no unit."
        )
    if len(config.compare.seeds) == 1:
        yield "There is one seed (compare.seeds), so nothing is known of how far another training may differ."
