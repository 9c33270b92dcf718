"""Reinforcement learning in `figa compare`: its trainings, with what they may spend, and what they cost.

They have the run's base model, training prompts and chat format, and the reward of its pairs
(`rl_rewards.py`). The budget is that of `figa_core/rl/budget.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import MethodConfig, PipelineConfig
from figa_core.config.roles import rl_problem
from figa_core.evaluation.cost import Cost
from figa_core.models.fingerprint import model_fingerprint
from figa_core.ports import ProgressCallback
from figa_core.records import Message, Split
from figa_core.report.data import TrainingCurve
from figa_core.rl import budget
from figa_core.rl.budget import DataTokens
from figa_core.rl.cost import RlTokens, Scored, rl_flops
from figa_core.rl.environments import installed_release, why_missing
from figa_core.rl.job import ENTROPY, GENERATED, KL, REWARD, RlJob
from figa_core.rl.job_rewards import JobReward
from figa_core.rl.launch import run_rl
from figa_core.rl.methods import RlMethod, is_rl, rl_method
from figa_core.rl.prompts_file import PromptRow, write_prompts
from figa_core.shards.sizes import ShardSizes
from figa_core.storage import responses, revisions
from figa_core.storage.responses import Samples
from figa_core.storage.scores import fields_of_prompts
from figa_core.storage.trainings import Training, save_training
from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.metrics import read_metrics
from tasks.chat_formats import generation_chat, template_variables
from tasks.results import no_progress
from tasks.rewards import Reward
from tasks.rl_rewards import count_of, fields_wanted, job_rewards, sample_facts
from tasks.tracking import tracking
from tasks.whole_models import whole_model
from tasks.workspace import Workspace

_STEPS_DRAWN = 500


def methods_by_rewards(config: PipelineConfig) -> Iterator[RlMethod]:
    """Those that the comparison names, each once."""
    yield from (rl_method(n) for n in dict.fromkeys(m.objective for m in config.compare.methods) if is_rl(n))


def missing_environments(config: PipelineConfig) -> Iterator[str]:
    """A line about each method that cannot run here, for before anything is spent."""
    for method in methods_by_rewards(config):
        if reason := why_missing(method.environment):
            yield f"{method.label} cannot run here: {reason}"


def trl_versions(config: PipelineConfig) -> dict[str, str]:
    """The releases of TRL that train the methods of the comparison, for the report."""
    found = {m.label: installed_release(m.environment) for m in methods_by_rewards(config)}
    return {f"TRL for {label}": release for label, release in found.items() if release}


@dataclass(frozen=True, slots=True)
class RlData:
    """What all trainings of a run share: its training prompts, its reward, and what its pairs cost.

    `scorer` is the id of the reward's values, and `rewards` are its parts. `elsewhere`: they run on the pool
    `gpu`, and what is installed here does not matter.
    """

    prompts: Path
    prompts_hash: str
    count: int
    scorer: str
    tokens: DataTokens
    rewards: tuple[JobReward, ...] = ()
    elsewhere: bool = False


def rl_data(
    workspace: Workspace,
    run_id: str,
    generator: str,
    reward: Reward,
    config: PipelineConfig,
    sizes: ShardSizes,
    *,
    elsewhere: bool = False,
) -> RlData:
    """Collects it, and writes the file of prompts that workers read.

    Raises:
        ConfigError: the model's chat format cannot be used.
        InputError, EngineError: see `job_rewards`.
    """
    rewards = job_rewards(workspace, reward)
    fields = fields_wanted(rewards)
    drawn = Samples(run_id, generator, Split.TRAIN)
    names = responses.chosen_prompts(workspace.database, drawn)
    chat = generation_chat(config.generation)
    digest = ids.prompts_digest(names, chat.tokenizer_hash, chat.template_hash, chat.variables)
    # The id of a scorer that gets fields is also that of the rows.
    name = f"{digest}-{reward.scorer}" if fields else digest
    path = workspace.scratch("rl") / f"{name}.parquet"
    if not path.is_file():
        write_prompts(path, _pages(workspace, drawn, config, fields))
    drafts, drafted = responses.tokens_drawn(workspace.database, drawn)
    answered = revisions.tokens_answered(workspace.database, run_id)
    if not answered:  # the provider does not count them
        answered = sizes.tokens["revision"] - sizes.prompt_tokens
    # A draft's end of turn was generated too, and is not stored.
    tokens = DataTokens(drafts, drafted + drafts, answered)
    return RlData(path, digest, len(names), reward.scorer, tokens, rewards, elsewhere)


def _pages(
    workspace: Workspace, drawn: Samples, config: PipelineConfig, fields: tuple[str, ...]
) -> Iterator[list[PromptRow]]:
    """Those that the chat template prints: the generate stage has stored why it refuses the others."""
    chat = generation_chat(config.generation)
    for page in responses.iter_prompts(workspace.database, drawn):
        outcomes = chat.prompt_ids_or_reasons([messages for _, messages in page])
        named = _fields(workspace, drawn, page, fields)
        rows = zip(page, outcomes, strict=True)
        yield [
            PromptRow(key, found, messages, named.get(key))
            for (key, messages), found in rows
            if not isinstance(found, str)
        ]


def _fields(
    workspace: Workspace,
    drawn: Samples,
    page: list[tuple[str, tuple[Message, ...]]],
    wanted: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    """By prompt id, what reward programs get; empty if they get nothing."""
    if not wanted:
        return {}
    return fields_of_prompts(workspace.database, drawn.run_id, [key for key, _ in page], wanted)


def why_unable(method: MethodConfig, config: PipelineConfig, data: RlData, share: float) -> str:
    """Why a method cannot run here or on these prompts; empty if it can."""
    known = rl_method(method.objective)
    if config.generation.temperature == 0:
        return "generation.temperature is 0, and it learns from differences between samples of the same model"
    if not data.count:
        return "there are no training prompts"
    if problem := rl_problem(config, takes_any=known.takes_any_reward):
        return problem
    if not data.elsewhere and (missing := why_missing(known.environment)):
        return missing
    tokens = data.tokens.budget(share=share, times=method.token_budget)
    least = budget.samples_per_step(
        tokens, data.tokens.mean, of_prompt=known.samples_per_prompt, prompts=data.count
    )
    if tokens < least * data.tokens.mean:
        return f"its budget of {tokens:,} tokens is less than the {least} samples of one step may take"
    return ""


def rl_job(
    workspace: Workspace,
    config: PipelineConfig,
    method: MethodConfig,
    data: RlData,
    *,
    share: float,
    learning_rate: float,
    seed: int,
) -> RlJob:
    """The job of a training; equal trainings have equal ids."""
    known, base = rl_method(method.objective), whole_model(workspace, config.generation.model)
    given = "kl_weight" in method.model_fields_set
    tokens = data.tokens.budget(share=share, times=method.token_budget)
    samples = budget.samples_per_step(
        tokens, data.tokens.mean, of_prompt=known.samples_per_prompt, prompts=data.count
    )
    job = RlJob(
        method=method.objective,
        training_id="",
        output=Path(),
        model=base,
        rewards=data.rewards,
        template_variables=template_variables(config.generation),
        stop=config.generation.sampling.stop,
        prompts=data.prompts,
        token_budget=tokens,
        samples_per_prompt=known.samples_per_prompt,
        samples_per_step=samples,
        temperature=config.generation.temperature,
        max_tokens=config.generation.max_tokens,
        kl_weight=method.kl_weight if given else known.kl_weight,
        learning_rate=learning_rate,
        seed=seed,
        dtype=config.training.dtype,
        tokens_per_batch=config.training.tokens_per_batch,
        steps=budget.expected_steps(tokens, data.tokens.mean, samples),
        tracking=config.tracking,
    )
    training_id = ids.rl_training_id(
        model=model_fingerprint(base, workspace.fingerprints),
        scorer=data.scorer,
        prompts=data.prompts_hash,
        trainer=known.environment.title,
        settings=job.settings_in_id(),
    )
    return job.model_copy(update={"training_id": training_id, "output": workspace.training(training_id)})


@task(name="train by rewards", task_run_name="train {job.method}", cache_policy=NO_CACHE)
def train_rl(job: RlJob, log_path: Path, *, on_progress: ProgressCallback = no_progress) -> TrainingManifest:
    """Train, or return the result of a finished training with this id. It does not open the database.

    Raises:
        TrainingError: see `run_rl`.
    """
    with tracking(job):
        return run_rl(job, on_tokens=lambda done: on_progress(done, job.token_budget), log_path=log_path)


def record_rl(workspace: Workspace, run_id: str, job: RlJob, manifest: TrainingManifest) -> None:
    """Store a finished training; the caller holds the workspace."""
    row = Training(
        training_id=job.training_id,
        run_id=run_id,
        objective=job.method,
        shard_set_id="",  # it has read no pairs
        parent_model=model_fingerprint(job.model, workspace.fingerprints),
        directory=str(job.output),
        steps=manifest.steps,
        seconds=manifest.wall_seconds,
    )
    save_training(workspace.database, row, model_fingerprint(job.model_dir, workspace.fingerprints))


def rl_cost(job: RlJob, manifest: TrainingManifest | None, parameters_of: Callable[[Path], int]) -> Cost:
    """What a training took so far, with generation, rewards, base and value model; see `rl/cost.py`."""
    steps = read_metrics(job.metrics_path)
    scored = [
        Scored(parameters_of(reward.model), count_of(steps, job.scored_by(reward)))
        for reward in job.reward_models
    ]
    tokens = RlTokens(sum(step.tokens for step in steps), count_of(steps, GENERATED), tuple(scored))
    return Cost(
        tokens=tokens.sequences,
        flops=rl_flops(
            job.of_method,
            kl_weight=job.kl_weight,
            parameters=parameters_of(job.model),
            tokens=tokens,
        ),
        seconds=sum(step.seconds for step in steps) if manifest is None else manifest.wall_seconds,
        peak_bytes=0 if manifest is None else manifest.peak_rss_bytes,
    )


def rl_curve(job: RlJob, manifest: TrainingManifest | None, label: str) -> TrainingCurve:
    """Loss, reward, KL from the base model and entropy of a training, finished or not."""
    steps = read_metrics(job.metrics_path)
    shown = steps[:: max(1, len(steps) // _STEPS_DRAWN)]
    known = [f for f in (REWARD, KL, ENTROPY) if any(step.figures.get(f.name) is not None for step in steps)]
    figures = {figure.title: tuple(step.figures.get(figure.name) for step in shown) for figure in known}
    facts = {
        "samples per step": str(job.samples_per_step),
        "learning rate": f"{job.learning_rate:g}",
        "tokens generated": f"{count_of(steps, GENERATED):,} of {job.token_budget:,}",
        **sample_facts(steps),
    }
    if manifest is not None:
        facts |= {"steps": str(manifest.steps), "wall time": f"{manifest.wall_seconds:.0f} s"}
    series = {"loss": tuple(step.loss for step in shown), **figures}
    return TrainingCurve(label, tuple(step.step for step in shown), series, facts)
