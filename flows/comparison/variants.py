"""The run repeated with another reward: its pairs, what the verifier says of them, and its models."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from figa_core.config import MethodConfig, PipelineConfig
from figa_core.errors import NothingToDoError, one_line
from figa_core.report.methods.data import Outcome
from figa_core.shards.manifest import read_manifest
from figa_core.storage import revisions
from figa_core.storage.preference_pairs import VerifiedPairs, rewards_of, texts_of, verified_pairs
from figa_core.storage.runs import DATASET_ONLY, find_run
from figa_core.storage.scores import kept_responses_of, revisions_of
from figa_core.study.reward.accuracy import Accuracy, accuracy
from figa_core.study.reward.data import SeedOutcome, VariantOutcome
from figa_core.training import checkpoints
from figa_core.training.job import training_spec
from flows.build_dataset import build, choose
from flows.comparison.judging import Judging
from flows.comparison.trainings import train_contender
from flows.run.open_run import OpenRun, open_run
from flows.run.story import Story
from flows.scoring import score_texts
from tasks.compare import Contender, Planned, drop_models, remark
from tasks.evaluate import verifier_id, verify_texts
from tasks.results import StageCounts
from tasks.study_reward import OWN, StudyPairs, Variant
from tasks.train import record_training, trained_model, training_job
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Chosen:
    """A variant whose filter has run; `unable` says why it goes no further."""

    run_id: str
    accuracy: Accuracy | None = None
    unable: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """A variant's pairs; `shards` is None if it has none, and `unable` says why."""

    shards: Path | None
    pairs: VerifiedPairs
    unable: str = ""


async def choose_variant(story: Story, run: OpenRun, variant: Variant, pairs: StudyPairs) -> Chosen:
    """Everything before the reviser is asked, and the accuracy of its reward; see `choose`."""
    unable = ""
    try:
        await choose(story, run, variant.config)
    except NothingToDoError as error:
        unable = one_line(error)
    return Chosen(run.run_id, await accuracy_of(story, run, variant.config, pairs), unable)


async def accuracy_of(story: Story, run: OpenRun, config: PipelineConfig, pairs: StudyPairs) -> Accuracy:
    """Of the reward that filters, on the held-out pairs; raises FigaError if it cannot rate them."""
    reward = run.rewards.filter
    texts = texts_of(pairs.held_out, run.run_id)
    await score_texts(story, run, config, reward, texts, "score held-out pairs")
    return accuracy(rewards_of(run.workspace.database, pairs.held_out, reward.scorer))


async def build_variants(
    story: Story, name: str, variants: Sequence[Variant], runs: Mapping[str, str]
) -> dict[str, Built]:
    """Revise and weigh what each variant keeps, within what is left of the budget; `runs` has their ids.

    Raises: see `build`.
    """
    found: dict[str, Built] = {}
    for variant in variants:
        story.progress.line(f"variant: {variant.label}")
        config = _within_budget(variant.config, runs[variant.key], [*runs.values()])
        with open_run(config, name, story.progress, reaches=DATASET_ONLY) as run:
            shards, unable = None, ""
            try:
                shards = (await build(story, run, config)).shards_for(config.loss.objective)
            except NothingToDoError as error:
                unable = one_line(error)
            found[variant.key] = Built(shards, _verified(story, run, config), unable)
    return found


def _within_budget(config: PipelineConfig, run_id: str, runs: Sequence[str]) -> PipelineConfig:
    """The budget is that of all variants together: what others alone have spent is taken off."""
    budget = config.spending.budget_usd
    if budget is None:
        return config
    database = Workspace(config.workspace.path).database
    others = (revisions.spent(database, *runs).usd or 0.0) - (revisions.spent(database, run_id).usd or 0.0)
    spending = config.spending.model_copy(update={"budget_usd": max(budget - others, 1e-9)})
    return config.model_copy(update={"spending": spending})


def _verified(story: Story, run: OpenRun, config: PipelineConfig) -> VerifiedPairs:
    spec = config.evaluation.verifier
    assert spec is not None, "the checks of a study ask for it"
    with story.stage("verify pairs") as stage:
        for source in (kept_responses_of(run.run_id), revisions_of(run.run_id)):
            verify_texts(run.workspace, spec, source, stage.on_progress)
        found = verified_pairs(run.workspace.database, run.run_id, verifier_id(spec))
        stage.counts = StageCounts(found.admitted, found.verified)
    return found


async def outcome_of(
    story: Story,
    run: OpenRun,
    config: PipelineConfig,
    judging: Judging,
    variant: Variant,
    chosen: Chosen,
    built: Built | None,
) -> VariantOutcome:
    """Train and judge a variant within the run itself; what is stored is not repeated.

    Raises: see `train_contender`.
    """
    stored = find_run(run.workspace.database, chosen.run_id).found.thresholds
    outcome = VariantOutcome(
        variant.key,
        variant.label,
        variant.reward,
        chosen.run_id,
        chosen.accuracy,
        thresholds={} if stored is None else asdict(stored),
        unable=chosen.unable,
    )
    if built is None:
        return outcome
    outcome = replace(outcome, pairs=built.pairs, unable=built.unable)
    if built.shards is None:
        return outcome
    contender = _contender(run.workspace, config, variant, built.shards)
    trainings = await _trained(story, run, config, contender, judging, of_run=variant.key == OWN)
    return replace(outcome, trained_on=contender.pairs, trainings=trainings)


def _contender(workspace: Workspace, config: PipelineConfig, variant: Variant, shards: Path) -> Contender:
    """The training of the run, on the variant's pairs, with each seed."""
    manifest = read_manifest(shards)
    planned = list[Planned]()
    for seed in config.compare.seeds:
        spec = training_spec(config, shards, config.loss.objective)
        spec = spec.model_copy(update={"training": spec.training.model_copy(update={"seed": seed})})
        job = training_job(workspace, spec)
        planned.append(Planned(job.learning_rate, seed, spec, job))
    method = MethodConfig(objective=config.loss.objective, label=f"reward: {variant.label}")
    return Contender(method, 0 if manifest is None else manifest.pairs, tuple(planned))


async def _trained(
    story: Story,
    run: OpenRun,
    config: PipelineConfig,
    contender: Contender,
    judging: Judging,
    *,
    of_run: bool,
) -> tuple[SeedOutcome, ...]:
    """`of_run`: the training with the run's own seed is the run's own, so its model is kept."""
    ended = await train_contender(story, run, config, contender)
    judged, failed = await judging.contender(contender)
    found, finished, kept = list[SeedOutcome](), list[Planned](), None
    for each in contender.trainings:
        training_id = each.job.training_id
        if training_id in judged:
            scores = judging.scores(judged[training_id])
            found.append(SeedOutcome(each.seed, training_id, scores, remark(each.job)))
            finished.append(each)
            kept = training_id if of_run and each.seed == config.training.seed else kept
        elif training_id in ended:
            outcome = ended[training_id]
            found.append(SeedOutcome(each.seed, training_id, {}, f"{outcome.outcome}: {outcome.reason}"))
        else:
            reason = failed.get(training_id, "it did not finish.")
            found.append(SeedOutcome(each.seed, training_id, {}, f"{Outcome.FAILED}: {reason}"))
    _record(run, finished)
    if config.compare.keep_models == "best":
        drop_models(run.workspace, finished, keep=kept)
    return tuple(found)


def _record(run: OpenRun, finished: Sequence[Planned]) -> None:
    for each in finished:
        if checkpoints.read_manifest(each.job.output) is not None and each.spec is not None:
            job = training_job(run.workspace, each.spec)
            record_training(run.workspace, run.run_id, job, trained_model(job), of_run=False)
