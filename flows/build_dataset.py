"""The first half of the story: from a file of prompts to a shard set that can be trained on."""

from dataclasses import dataclass

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.records import Split
from flows.progress import current
from flows.run.artifacts import publish_failures, publish_funnel
from flows.run.events import dataset_built
from flows.run.open_run import OpenRun, open_run
from flows.run.parameters import anchored, run_name
from flows.run.story import Story
from tasks.filter import admit, filter_responses, revision_recipe
from tasks.generate import generate
from tasks.import_prompts import import_prompts
from tasks.revise import revise, revise_batch, take_in_journal
from tasks.revised import check_open_rows, check_refused_rows, open_rows_warning
from tasks.revision_settings import RevisionSections
from tasks.score import score_references, score_responses, score_revisions
from tasks.weigh import WeighResult, weigh

BUILT = "dataset built"


@dataclass(frozen=True, slots=True)
class BuiltDataset:
    """What a finished build returns; `seconds` by stage."""

    run_id: str
    weighed: WeighResult
    seconds: dict[str, float]


@flow(name="build-dataset", flow_run_name=run_name, persist_result=False)
async def build_dataset(config: PipelineConfig) -> BuiltDataset:
    """Everything up to the shards: generate, score, filter, revise, admit, weigh. Trains nothing.

    At the end the event `figa.dataset.built` says where the shards are; an automation may train on them.

    Args:
        config: The run. The same settings as in the `figa` deployment are the same run: either goes on
            where the other stopped.

    Raises:
        FigaError: what was wrong, where, and what to do; what was done until then is stored.
    """
    config, progress = anchored(config), current()
    with open_run(config, flow_run.name or "build-dataset", progress, reaches=BUILT) as run:
        story = Story(progress)
        weighed = await build(story, run, config)
        dataset_built(run, config, weighed)
    return BuiltDataset(run.run_id, weighed, story.seconds)


async def build(story: Story, run: OpenRun, config: PipelineConfig) -> WeighResult:
    """Import, generate, score, filter, revise, score, admit, weigh; the caller holds the workspace."""
    at, reward, engines = (run.workspace, run.run_id), config.reward, run.engines
    model, longest = config.generation.model, config.prompts.max_prompt_tokens
    _take_in_journal(story, run)
    with story.stage("import") as stage:
        stage.counts = import_prompts(*at, config.prompts, model, reward.model, on_progress=stage.on_progress)
    with story.stage("generate") as stage:
        stage.counts = generate(
            *at, config.generation, run.sampling, longest, engines=engines, on_progress=stage.on_progress
        )
    with story.stage("score responses") as stage:
        stage.counts = score_responses(
            *at, reward, run.generator, Split.TRAIN, engines=engines, on_progress=stage.on_progress
        )
    with story.stage("score references") as stage:
        stage.counts = score_references(*at, reward, engines=engines, on_progress=stage.on_progress)
    with story.stage("filter") as stage:
        recipe = revision_recipe(config.revision, config.revision_prompt, run.templates)
        stage.counts = filter_responses(*at, config.filter, recipe, run.generator, run.scorer)
    await _revise(story, run, config)
    with story.stage("score revisions") as stage:
        stage.counts = score_revisions(*at, reward, engines=engines, on_progress=stage.on_progress)
    with story.stage("admit") as stage:
        stage.counts = admit(*at, config.admission, run.scorer)
    with story.stage("weigh") as stage:
        weighed = weigh(*at, config.weighting, model, run.scorer, on_progress=stage.on_progress)
        stage.counts = weighed.counts
    await publish_funnel(run)
    return weighed


async def _revise(story: Story, run: OpenRun, config: PipelineConfig) -> None:
    """Ask for what is open; show what has no usable revision, and go on only if it is little enough.

    Raises:
        OpenRevisionsError, RefusedRevisionsError: see `tasks.revised`.
    """
    sections = RevisionSections.of(config)
    _take_in_journal(story, run)  # by now it is known which rows there are
    drained = f"answers under way are awaited for {sections.batches.drain_s:.0f} s"
    with story.stage("revise", stopping=drained) as stage:
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
    warning = open_rows_warning(revised)
    if warning is not None:
        run.warnings.append(warning)


def _take_in_journal(story: Story, run: OpenRun) -> None:
    found = take_in_journal(run.workspace)
    if found.replaced:
        story.progress.line(
            f"warning: {run.workspace.journal} is not the journal of earlier runs, or lacks its end: answers "
            "that are only in the missing part are asked for again"
        )
    if found.settled:
        story.progress.line(f"{found.settled:,} answers of earlier runs are taken from the journal")
