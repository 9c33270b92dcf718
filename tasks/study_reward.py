"""`figa study reward`: the pairs that reward models are trained on, the models, and what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import (
    FilterConfig,
    ModelRewardConfig,
    PipelineConfig,
    ProgramRewardConfig,
    RewardConfig,
)
from figa_core.config.roles import model_rewards, parts_of, roles_of
from figa_core.errors import InputError, WorkspaceError
from figa_core.inference.engine import AUTO, SERVER
from figa_core.inference.engines import Engines
from figa_core.models.fingerprint import model_fingerprint
from figa_core.ports import ProgressCallback
from figa_core.records import Split
from figa_core.storage import preference_pairs
from figa_core.storage.conversations import read_messages
from figa_core.storage.pairs import RunScores, iter_candidates
from figa_core.storage.runs import find_run
from figa_core.study.reward import length
from figa_core.study.reward.degrade import FULL, TRAINED, Degradation, parts
from figa_core.study.reward.pairs import PreferencePair, write_table
from figa_core.study.reward.settings import RewardStudySettings
from figa_core.study.reward.thresholds import as_quantiles
from figa_core.study.reward.train import PAIRS_PER_STEP, HeadJob, train_head
from tasks.evaluate import verifier_id, verify_texts
from tasks.generate import Sampling, generate, generator_id
from tasks.results import StageCounts, no_progress
from tasks.whole_models import whole_model
from tasks.workspace import Workspace

TRAINING_LEAST, HELD_OUT_LEAST = 20, 10
OWN, LENGTH = "own", "length"
_LENGTH_NAME, _FULL_NAME = "length", "all pairs"


@dataclass(frozen=True, slots=True)
class StudyPairs:
    """The preference pairs of a study, in two tables; `source` says where they come from."""

    set_id: str
    training: Path
    held_out: Path
    counts: tuple[int, int]
    source: str


@dataclass(frozen=True, slots=True)
class Variant:
    """The run repeated with another reward: its settings, and in words what its reward is."""

    key: str
    label: str
    reward: str
    config: PipelineConfig


@task(name="second-answers", task_run_name="second answers to training prompts", cache_policy=NO_CACHE)
def second_answers(
    workspace: Workspace,
    run_id: str,
    config: PipelineConfig,
    prompts_max: int,
    *,
    engines: Engines,
    on_progress: ProgressCallback = no_progress,
) -> tuple[str, StageCounts]:
    """Draw one more answer to training prompts, by the same model with the next seed; returns its generator.

    They belong to no pair of the run: their generator has an id of its own.

    Raises:
        EngineError: the engine cannot be used, or fails for too many of the samples.
    """
    generation = config.generation.model_copy(update={"seed": config.generation.seed + 1})
    sampling = Sampling(generation.model, Split.TRAIN, generation.temperature, 1, prompts_max)
    counts = generate(
        workspace,
        run_id,
        generation,
        sampling,
        config.prompts.max_prompt_tokens,
        engines=engines,
        on_progress=on_progress,
    )
    return generator_id(workspace, generation, sampling), counts


def own_pairs(
    workspace: Workspace,
    run_id: str,
    verifier: str,
    generators: Sequence[str],
    prompts_max: int,
    on_progress: ProgressCallback = no_progress,
) -> list[PreferencePair]:
    """Of each prompt whose answers differ by the verifier, the best answer and the worst.

    Raises:
        EvaluationError: the verifier fails for too many of them.
    """
    source = preference_pairs.answers_to_compare(run_id, generators, prompts_max)
    verify_texts(workspace, verifier, source, on_progress)
    rows = preference_pairs.best_and_worst(workspace.database, run_id, generators, verifier_id(verifier))
    return [_pair(*row) for row in rows]


def _pair(messages: str, chosen_id: str, chosen: str, rejected_id: str, rejected: str) -> PreferencePair:
    conversation = read_messages(messages)
    return PreferencePair(
        ids.preference_pair_id(chosen_id, rejected_id),
        ids.prompt_id(conversation),
        conversation,
        chosen_id,
        chosen,
        rejected_id,
        rejected,
    )


def store_pairs(
    workspace: Workspace, pairs: Sequence[PreferencePair], held_out_share: float, source: str
) -> StudyPairs:
    """Write both tables, unless they are there.

    Raises:
        InputError: there are too few pairs to train a tenth of them, or to measure an accuracy.
        WorkspaceError: they cannot be written.
    """
    ordered = sorted(pairs, key=lambda pair: pair.pair_id)
    training, held_out = parts(ordered, held_out_share)
    if len(training) < TRAINING_LEAST or len(held_out) < HELD_OUT_LEAST:
        raise InputError(
            f"{len(pairs):,} preference pairs from {source}: {len(training):,} to train on and "
            f"{len(held_out):,} to measure the accuracy, where {TRAINING_LEAST} and {HELD_OUT_LEAST} are the "
            "least. Give more pairs (--pairs), more prompts, or sample at a higher temperature "
            "(generation.temperature), so that the answers to a prompt differ."
        )
    set_id = ids.preference_set_id([pair.pair_id for pair in ordered])
    directory = workspace.studies / f"{set_id}-{held_out_share:g}"
    try:
        for name, part in (("training", training), ("held-out", held_out)):
            path = directory / f"{name}.parquet"
            if not path.is_file():
                write_table(path, part)
    except OSError as error:
        raise WorkspaceError(
            f"{directory}: cannot be written: {error.strerror or error}. Free space, or correct the "
            "permissions."
        ) from error
    counts = (len(training), len(held_out))
    return StudyPairs(set_id, directory / "training.parquet", directory / "held-out.parquet", counts, source)


def head_job(
    workspace: Workspace,
    config: PipelineConfig,
    settings: RewardStudySettings,
    pairs: StudyPairs,
    degradation: Degradation,
) -> HeadJob:
    """The training of one reward model. All variants take as many steps as all pairs take."""
    start = whole_model(workspace, settings.start or config.generation.model)
    steps = max(1, round(settings.epochs * pairs.counts[0] / PAIRS_PER_STEP))
    longest = reward_like(config).max_length
    head_id = ids.reward_head_id(
        start=model_fingerprint(start, workspace.fingerprints),
        pairs=f"{pairs.set_id} without {settings.held_out_share:g}",
        share=degradation.share,
        noise=degradation.noise,
        steps=steps,
        max_length=longest,
        learning_rate=settings.learning_rate,
    )
    return HeadJob(
        pairs=pairs.training,
        key=degradation.key,
        share=degradation.share,
        noise=degradation.noise,
        start=start,
        output=workspace.studies / head_id,
        steps=steps,
        max_length=longest,
        learning_rate=settings.learning_rate,
    )


@task(name="train-reward", task_run_name="train the reward model {job.key}", cache_policy=NO_CACHE)
def train_reward(workspace: Workspace, job: HeadJob) -> dict[str, float]:
    """Train a reward model unless it is trained; raises TrainingError if it cannot be."""
    return train_head(job, workspace.logs / f"study-reward-{job.output.name[-8:]}.log")


def reward_like(config: PipelineConfig) -> RewardConfig:
    """How reward models of the study are loaded: as the run's own, if it has one, with their own template."""
    known = next(iter(model_rewards(config).values()), RewardConfig(model=config.generation.model))
    names = ("engine", "max_length", "tokens_per_batch", "gpu_memory_share", "vllm")
    changed = {name: getattr(known, name) for name in names}
    changed["engine"] = AUTO if known.engine == SERVER else known.engine  # a server has its own model
    return RewardConfig(model=known.model, plain_template=True, **changed)


def variants_of(
    config: PipelineConfig,
    settings: RewardStudySettings,
    filtering: FilterConfig,
    jobs: dict[str, HeadJob],
) -> list[Variant]:
    """The run itself, and the run with each other reward; `filtering` has the thresholds as quantiles."""
    found = [Variant(OWN, "own reward", _in_words(config), config)]
    usual = reward_like(config)
    for each in TRAINED:
        reward = usual.model_copy(update={"model": jobs[each.key].model})
        what = f"a Bradley–Terry model of {each.label}"
        found.append(Variant(each.key, each.label, what, _with(config, filtering, each.label, reward=reward)))
    likes = f"(z(all pairs) + {settings.length_weight:g} · z(words)) / {1 + settings.length_weight:g}"
    full = usual.model_copy(update={"model": jobs[FULL.key].model})
    rewards = (
        ModelRewardConfig(name=_FULL_NAME, **{name: getattr(full, name) for name in type(full).model_fields}),
        ProgramRewardConfig(name=_LENGTH_NAME, program=length.PROGRAM, weight=settings.length_weight),
    )
    found.append(
        Variant(LENGTH, "likes length", likes, _with(config, filtering, "likes length", rewards=rewards))
    )
    return found


def _in_words(config: PipelineConfig) -> str:
    names = parts_of(config, roles_of(config).filter)
    return f"the reward of the run ({', '.join(names)})"


def _with(
    config: PipelineConfig,
    filtering: FilterConfig,
    label: str,
    *,
    reward: RewardConfig | None = None,
    rewards: tuple[ModelRewardConfig | ProgramRewardConfig, ...] = (),
) -> PipelineConfig:
    """The run with this reward for every use; its models are judged by the verifier alone."""
    return config.model_copy(
        update={
            "workspace": config.workspace.model_copy(update={"name": f"{config.workspace.name}, {label}"}),
            "reward": reward,
            "rewards": rewards,
            "filter": filtering.model_copy(update={"reward": None}),
            "admission": config.admission.model_copy(update={"reward": None}),
            "evaluation": config.evaluation.model_copy(update={"reward": None, "baselines": ()}),
        }
    )


def quantile_thresholds(
    workspace: Workspace, run_id: str, config: FilterConfig, scores: RunScores
) -> FilterConfig:
    """The run's thresholds as quantiles of its own scores; the filter has run."""
    thresholds = find_run(workspace.database, run_id).found.thresholds
    assert thresholds is not None, "the filter stores them"
    return as_quantiles(config, thresholds, chain.from_iterable(iter_candidates(workspace.database, scores)))
