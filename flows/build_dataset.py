"""The first part of a run: a file of prompts becomes a shard set to train on."""

from dataclasses import dataclass
from pathlib import Path

from prefect import flow
from prefect.events import emit_event
from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.config.file import anchor_paths
from figa_core.config.roles import fields_of, model_rewards
from figa_core.storage.runs import DATASET_ONLY
from figa_core.storage.scores import references_of, revisions_of
from figa_core.training.job import training_spec
from flows.checks.settings import reading
from flows.progress import current
from flows.run.apart import apart
from flows.run.artifacts import publish_failures, publish_funnel
from flows.run.open_run import OpenRun, open_run
from flows.run.parameters import run_name
from flows.run.story import Story
from flows.scoring import score_kept_responses, score_own_responses, score_texts
from flows.server.names import DATASET_BUILT
from tasks.artifacts import Artifacts
from tasks.evaluate import check_held_out
from tasks.filter import admit, filter_responses, revision_recipe
from tasks.generate import generate
from tasks.grade import grade, grade_batch
from tasks.graded import check_fallbacks, check_open_grades, fallback_line
from tasks.grading_settings import GradingSections
from tasks.import_prompts import import_prompts
from tasks.revise import read_journal, revise, revise_batch
from tasks.revised import check_open_rows, check_refused_rows, open_rows_warning
from tasks.revision_settings import RevisionSections
from tasks.weigh import WeighResult, weigh


@dataclass(frozen=True, slots=True)
class BuiltDataset:
    """The result of the flow; `seconds` by stage."""

    run_id: str
    weighed: WeighResult
    seconds: dict[str, float]


@flow(name="build-dataset", flow_run_name=run_name, persist_result=False)
async def build_dataset(config: PipelineConfig) -> BuiltDataset:
    """Everything up to the shards: generate, score, filter, revise, admit, (grade,) weigh. Trains nothing.

    The event `figa.dataset.built` at the end has the parameters for `train-model`; an automation can use it.

    Args:
        config: The run. With the same settings, this and the `figa` deployment work on the same run: each
            continues where the other stopped.

    Raises:
        FigaError: what was wrong, where, and what to do; what was done before is stored.
    """
    # Paths typed into a form may be relative.
    config, progress = anchor_paths(config, Path.cwd()), current()
    with open_run(config, flow_run.name or "build-dataset", progress, reaches=DATASET_ONLY) as run:
        story = Story(progress)
        weighed = await build(story, run, config)
        store = Artifacts.of(run.workspace, config.storage.artifacts, progress.line)
        if store is not None:  # before a training is started by the event
            await apart(store.send_shards, weighed.shards_for(config.loss.objective))
            await apart(store.send_model, config.generation.model)
        _announce(run, config, weighed)
    return BuiltDataset(run.run_id, weighed, story.seconds)


def _announce(run: OpenRun, config: PipelineConfig, weighed: WeighResult) -> None:
    objective = config.loss.objective
    spec = training_spec(config, weighed.shards_for(objective), objective)
    emit_event(
        DATASET_BUILT,
        resource={
            "prefect.resource.id": f"figa.dataset.{weighed.shard_set_id}",
            "prefect.resource.name": f"{config.workspace.name}: {weighed.counts.n_out:,} pairs",
        },
        payload={"run_id": run.run_id, "pairs": weighed.counts.n_out, **spec.parameters()},
    )


async def build(story: Story, run: OpenRun, config: PipelineConfig, held_out_least: int = 0) -> WeighResult:
    """Import, generate, score, filter, revise, score, admit, grade, weigh; the caller holds the workspace.

    `held_out_least`, and what is raised: see `choose`.
    """
    await choose(story, run, config, held_out_least)
    return await _revise_to_weigh(story, run, config)


async def choose(story: Story, run: OpenRun, config: PipelineConfig, held_out_least: int = 0) -> None:
    """Everything before the reviser is asked: import, generate, score, filter.

    Raises:
        EvaluationError: the imported prompts leave fewer than `held_out_least` to judge by; nothing was
            generated or paid for.
        FigaError: what was wrong, where, and what to do.
    """
    at, engines, rewards = (run.workspace, run.run_id), run.engines, run.rewards
    generation, longest = config.generation, config.prompts.max_prompt_tokens
    _read_journal(story, run)
    with story.stage("import") as stage:
        stage.counts = import_prompts(
            *at,
            config.prompts,
            generation,
            *model_rewards(config).values(),
            more_fields=fields_of(config),
            on_progress=stage.on_progress,
        )
    check_held_out(*at, config, held_out_least)
    with story.stage("generate") as stage:
        stage.counts = generate(
            *at, generation, run.sampling, longest, engines=engines, on_progress=stage.on_progress
        )
    await score_own_responses(story, run, config)
    await score_texts(story, run, config, rewards.filter, references_of(run.run_id), "score references")
    with story.stage("filter") as stage:
        recipe = revision_recipe(config.revision, config.revision_prompt, run.templates)
        stage.counts = filter_responses(*at, config.filter, recipe, run.generator, rewards.filter.scorer)


async def _revise_to_weigh(story: Story, run: OpenRun, config: PipelineConfig) -> WeighResult:
    at, rewards, generation = (run.workspace, run.run_id), run.rewards, config.generation
    await score_kept_responses(story, run, config)
    await _revise(story, run, config)
    await score_texts(story, run, config, rewards.training, revisions_of(run.run_id), "score revisions")
    with story.stage("admit") as stage:
        stage.counts = admit(*at, config.admission, rewards.training.scorer)
    if (sections := GradingSections.of(config)) is not None:
        await grade_words(story, run, config, sections)
    with story.stage("weigh") as stage:
        best_of = generation.samples_per_prompt if reading(config, "best") else None
        weighed = weigh(
            *at,
            config.weighting,
            generation,
            rewards.training.scorer,
            best_of=best_of,
            on_progress=stage.on_progress,
        )
        stage.counts = weighed.counts
    await publish_funnel(run)
    return weighed


async def _revise(story: Story, run: OpenRun, config: PipelineConfig) -> None:
    """Ask for the open revisions and show what failed; raises if too many rows did, see `tasks.revised`."""
    sections = RevisionSections.of(config)
    _read_journal(story, run)  # again: the filter has stored the rows that its answers belong to
    stopping = f"answers under way are awaited for {sections.batches.drain_s:.0f} s"
    with story.stage("revise", stopping=stopping) as stage:
        revised = await revise(
            run.workspace,
            run.run_id,
            sections,
            run_batch=revise_batch,
            on_progress=stage.show,
            on_note=story.progress.line,
        )
        stage.counts = revised.counts
    await publish_failures(run)
    check_open_rows(revised, config.revision_batches.failed_share_max)
    check_refused_rows(revised, config.revision_batches.refused_share_max)
    if warning := open_rows_warning(revised):
        run.warnings.append(warning)


async def grade_words(story: Story, run: OpenRun, config: PipelineConfig, sections: GradingSections) -> None:
    """Ask for the open grades; raises if too many pairs are open or without scores, see `tasks.graded`."""
    stopping = f"answers under way are awaited for {sections.batches.drain_s:.0f} s"
    with story.stage("grade", stopping=stopping) as stage:
        graded = await grade(
            run.workspace,
            run.run_id,
            sections,
            config.generation.model,
            run.rewards.training.scorer,
            run_batch=grade_batch,
            on_progress=stage.show,
            on_note=story.progress.line,
        )
        stage.counts = graded.counts
    check_open_grades(graded, sections.batches.failed_share_max)
    check_fallbacks(graded, sections.grader.fallback_share_max)
    if line := fallback_line(graded):
        run.warnings.append(line)


def _read_journal(story: Story, run: OpenRun) -> None:
    found = read_journal(run.workspace)
    if found.replaced:
        story.progress.line(
            f"warning: {run.workspace.journal} is not the journal of earlier runs, or its end is missing: "
            "answers that are only in the missing part are asked for again"
        )
    if found.settled:
        story.progress.line(f"{found.settled:,} answers of earlier runs are taken from the journal")
