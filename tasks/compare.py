"""The trainings of `figa compare`: which there are, and which of their results are stored."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from figa_core.chat.format import load_chat_format
from figa_core.config import CompareConfig, MethodConfig, PipelineConfig
from figa_core.models.fingerprint import model_fingerprint
from figa_core.records import Split
from figa_core.report.data import TrainingCurve
from figa_core.rl.job import RlJob
from figa_core.rl.methods import is_rl
from figa_core.shards.sizes import ShardSizes
from figa_core.storage import responses
from figa_core.storage.responses import Samples
from figa_core.storage.runs import latest_runs
from figa_core.training import checkpoints
from figa_core.training.alarms import KL_FROM_BASE, PROBE_FIGURES
from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.going_back import metrics_of_all_steps
from figa_core.training.job import TrainingJob, TrainingSpec
from figa_core.training.metrics import read_metrics
from figa_core.training.objectives.registry import make_objective, objective_named, objective_names
from tasks.evaluate import held_out_sampling
from tasks.generate import generator_id, generator_of
from tasks.reinforcement import RlData, rl_curve, rl_job
from tasks.reinforcement import why_unable as why_unable_by_rewards
from tasks.report import curve_of
from tasks.rl_rewards import reward_remark
from tasks.train import training_job
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Planned:
    """One training of the comparison; `spec` is None for one that learns from rewards."""

    learning_rate: float
    seed: int
    spec: TrainingSpec | None
    job: TrainingJob | RlJob


@dataclass(frozen=True, slots=True)
class Contender:
    """A method at one number of pairs. `unable` says why it cannot run on them; then it has no trainings."""

    method: MethodConfig
    pairs: int
    trainings: tuple[Planned, ...] = ()
    unable: str = ""

    def sweep(self, config: CompareConfig) -> "Contender":
        """With the trainings that choose the learning rate."""
        swept = (each for each in self.trainings if each.seed in config.swept_seeds)
        return replace(self, trainings=tuple(swept))

    def after_sweep(self, config: CompareConfig, learning_rate: float | None) -> "Contender":
        """With the trainings of the other seeds at the chosen rate; with none if there is no such rate."""
        others = (each for each in self.trainings if each.seed not in config.swept_seeds)
        return replace(self, trainings=tuple(each for each in others if each.learning_rate == learning_rate))


def after_steps(
    workspace: Workspace, config: PipelineConfig, contender: Contender, learning_rate: float
) -> list[tuple[int, Contender]]:
    """For each number of `compare.curve_steps`, the trainings at this rate cut off after so many steps.

    With a constant rate, the first steps of a training do not depend on how many follow, so its weights are
    those that the whole training had then. No alarm ends them, and the last step is the result. Whole
    trainings that are no longer have none.

    Raises: see `training_job`.
    """
    found = list[tuple[int, Contender]]()
    for steps in sorted(config.compare.curve_steps):
        planned = [
            _cut_off(workspace, each.spec, each, steps)
            for each in contender.trainings
            if each.learning_rate == learning_rate
            and each.spec is not None
            and isinstance(each.job, TrainingJob)
            and steps < each.job.steps
        ]
        if planned:
            words = "1 step" if steps == 1 else f"{steps:,} steps"
            method = contender.method.model_copy(update={"label": f"{contender.method.name} after {words}"})
            found.append((steps, Contender(method, contender.pairs, tuple(planned))))
    return found


def _cut_off(workspace: Workspace, spec: TrainingSpec, whole: Planned, steps: int) -> Planned:
    held_out = spec.training.held_out.model_copy(update={"result": "last", "patience": None})
    job = whole.job
    assert isinstance(job, TrainingJob)  # settled: its step's size follows from the whole training
    settled = {"max_steps": steps, "held_out": held_out}
    settled |= {name: getattr(job.training, name) for name in ("epochs", "pairs_per_step")}
    changed = spec.model_copy(
        update={
            "training": spec.training.model_copy(update=settled),
            "alarms": spec.alarms.model_copy(update={"stops": ()}),
        }
    )
    return Planned(whole.learning_rate, whole.seed, changed, training_job(workspace, changed))


def made_all_steps(planned: Planned) -> bool:
    """Whether the result of a training is its last planned step: no alarm and no held-out pairs ended it."""
    manifest = manifest_of(planned.job.output)
    return (
        manifest is not None and isinstance(planned.job, TrainingJob) and manifest.steps == planned.job.steps
    )


def trainings_of(contender: Contender, config: CompareConfig) -> int:
    """How many of its trainings will be run."""
    rates = len({each.learning_rate for each in contender.trainings})
    return config.trainings(rates) if rates else 0


def methods_of(config: PipelineConfig) -> tuple[MethodConfig, ...]:
    """The methods that the settings name; by default every objective, the run's own first."""
    if config.compare.methods:
        return config.compare.methods
    names = dict.fromkeys((config.loss.objective, *objective_names()))
    return tuple(MethodConfig(objective=name) for name in names)


def schemes_of(config: PipelineConfig) -> tuple[str, ...]:
    """The weighting schemes of the methods besides that of the run."""
    schemes = dict.fromkeys(method.scheme or config.weighting.scheme for method in methods_of(config))
    return tuple(scheme for scheme in schemes if scheme != config.weighting.scheme)


def samples_for_best(config: PipelineConfig) -> int | None:
    """The samples of each prompt whose best a method trains on; None if none does, or there is only one."""
    on_pairs = [method.objective for method in methods_of(config) if not is_rl(method.objective)]
    read = {answer for name in on_pairs for answer in objective_named(name).answers}
    samples = config.generation.samples_per_prompt
    return samples if "best" in read and samples > 1 else None


def weighted_by(config: PipelineConfig, scheme: str) -> PipelineConfig:
    """The settings with another weighting scheme."""
    weighting = config.weighting.model_copy(update={"scheme": scheme})
    return config.model_copy(update={"weighting": weighting})


def contenders(
    workspace: Workspace,
    config: PipelineConfig,
    shards: Mapping[str, Path],
    sizes: ShardSizes,
    with_best: Path | None = None,
    rl: RlData | None = None,
) -> list[Contender]:
    """Every method at every number of pairs; `shards` are the directories by weighting scheme.

    `with_best`: the set that has the best samples too, if a method trains on them. `rl`: what methods of
    reinforcement learning need, if there are any.

    Raises:
        TrainingError: a shard set is not complete.
        InputError: the model is gone.
    """
    found = list[Contender]()
    for pairs in dict.fromkeys(
        sizes.pairs if isinstance(size, str) else size for size in config.compare.pairs
    ):
        for method in methods_of(config):
            if rl is not None and is_rl(method.objective):
                found.append(_by_rewards(workspace, config, method, pairs, sizes, rl))
                continue
            if reason := why_unable(method, config, pairs, sizes):
                found.append(Contender(method, pairs, unable=reason))
                continue
            directory = shards[method.scheme or config.weighting.scheme]
            if "best" in objective_named(method.objective).answers and with_best is not None:
                directory = with_best
            planned = _planned(workspace, config, method, directory, pairs)
            found.append(Contender(method, pairs, tuple(planned)))
    return found


def why_unable(method: MethodConfig, config: PipelineConfig, pairs: int, sizes: ShardSizes) -> str:
    """Why a method cannot run on these pairs; empty if it can."""
    objective = make_objective(method.loss(config.loss))
    if "best" in objective.answers and config.generation.samples_per_prompt == 1:
        return "there is one sample of each prompt (generation.samples_per_prompt), so none is the best"
    together = objective.tokens_at_once(config.weighting.max_length)
    if together > config.training.tokens_per_batch:
        return (
            f"its answers of a pair may have {together} tokens together, more than training.tokens_per_batch "
            f"= {config.training.tokens_per_batch}"
        )
    for answer in objective.answers:
        if not sizes.answered.get(answer):
            return f"none of the {sizes.pairs:,} pairs has a {answer}"
    if pairs > sizes.pairs:
        return f"there are only {sizes.pairs:,} pairs"
    if objective.weighs_nothing:
        return "with these settings no token has a weight"
    return ""


def _planned(
    workspace: Workspace, config: PipelineConfig, method: MethodConfig, shards: Path, pairs: int
) -> Iterable[Planned]:
    compare: CompareConfig = config.compare
    for rate in method.learning_rates or compare.learning_rates:
        for seed in compare.seeds:
            spec = TrainingSpec(
                shards=shards,
                model=config.generation.model,
                loss=method.loss(config.loss),
                training=method.training(config.training).model_copy(
                    update={"learning_rate": rate, "seed": seed}
                ),
                alarms=config.alarms,
                tracking=config.tracking,
                artifacts=config.storage.artifacts,
                pairs_limit=pairs,
            )
            yield Planned(rate, seed, spec, training_job(workspace, spec))


def _by_rewards(
    workspace: Workspace,
    config: PipelineConfig,
    method: MethodConfig,
    pairs: int,
    sizes: ShardSizes,
    rl: RlData,
) -> Contender:
    """At a number of pairs it may spend what that share of them cost."""
    share = pairs / max(sizes.pairs, 1)
    reason = f"there are only {sizes.pairs:,} pairs" if share > 1 else ""
    if reason := reason or why_unable_by_rewards(method, config, rl, share):
        return Contender(method, pairs, unable=reason)
    planned = [
        Planned(
            rate,
            seed,
            None,
            rl_job(workspace, config, method, rl, share=share, learning_rate=rate, seed=seed),
        )
        for rate in method.learning_rates or config.compare.learning_rates
        for seed in config.compare.seeds
    ]
    return Contender(method, pairs, tuple(planned))


def trained_generator(workspace: Workspace, config: PipelineConfig, output: Path) -> str | None:
    """The id of the held-out answers of a training's model, also if it was dropped; None if unfinished."""
    evaluation = config.evaluation
    if checkpoints.read_manifest(output) is not None:
        return generator_id(
            workspace, config.generation, held_out_sampling(evaluation, output / checkpoints.MODEL_NAME)
        )
    dropped = checkpoints.read_dropped(output)
    if dropped is None:
        return None
    return generator_of(config.generation, evaluation.temperature, dropped.fingerprint, dropped.template)


def held_out(run_id: str, config: PipelineConfig, generator: str) -> Samples:
    """The held-out answers of one model."""
    return Samples(run_id, generator, Split.HELD_OUT, max_prompts=config.evaluation.max_prompts)


def is_answered(workspace: Workspace, run_id: str, config: PipelineConfig, output: Path) -> bool:
    """Whether a training has finished and its model has answered every held-out prompt."""
    generator = trained_generator(workspace, config, output)
    if generator is None:
        return False
    return not responses.count_missing_samples(workspace.database, held_out(run_id, config, generator))


def drop_models(workspace: Workspace, trainings: Iterable[Planned], *, keep: str | None) -> None:
    """Remove the models of judged trainings, but for the one to keep and those that a run's report shows."""
    runs = latest_runs(workspace.database, 10_000)
    kept = {keep, *(training_id for run in runs for training_id in run.found.trainings.values())}
    for each in trainings:
        output = each.job.output
        if each.job.training_id in kept or checkpoints.read_manifest(output) is None:
            continue
        model = output / checkpoints.MODEL_NAME
        template, fingerprint = (
            load_chat_format(model).template_hash,
            model_fingerprint(model, workspace.fingerprints),
        )
        checkpoints.drop_model(output, fingerprint, template)
        shutil.rmtree(workspace.merged(fingerprint), ignore_errors=True)  # of an adapter


def manifest_of(output: Path) -> TrainingManifest | None:
    """The figures of a finished training, also if its model was dropped."""
    if (manifest := checkpoints.read_manifest(output)) is not None:
        return manifest
    dropped = checkpoints.read_dropped(output)
    return None if dropped is None else dropped.training


def remark(job: TrainingJob | RlJob) -> str:
    """What is odd about a finished training: an alarm ended it, or it changed or learnt nothing; or empty."""
    manifest = manifest_of(job.output)
    if manifest is None:
        return ""
    if (alarm := manifest.ended_by) is not None:
        return f"ended by the alarm {alarm.name}"
    if manifest.steps > manifest.skipped_steps + manifest.overflowed_steps:
        return reward_remark(job, read_metrics(job.metrics_path)) if isinstance(job, RlJob) else ""
    return f"none of its {manifest.steps:,} steps made an update: it is the base model"


def drop_checkpoints(trainings: Iterable[Planned]) -> None:
    """Remove the checkpoints of trainings that diverged: they are not continued."""
    for each in trainings:
        if not isinstance(each.job, RlJob):  # which has none
            checkpoints.drop_checkpoints(each.job)


def kl_from_base(planned: Planned) -> float | None:
    """The trained model's KL divergence from the base, as last measured by the training's probes (nats)."""
    steps = read_metrics(planned.job.metrics_path)
    found = [step.figures.get(KL_FROM_BASE.name) for step in steps]
    return next((value for value in reversed(found) if value is not None), None)


def shared_curve(planned: Planned, label: str) -> TrainingCurve:
    """Loss, and what the probes measured, which is comparable between objectives."""
    if isinstance(planned.job, RlJob):
        return rl_curve(planned.job, manifest_of(planned.job.output), label)
    curve = curve_of(planned.job.output, planned.job.objective)
    steps = {step.step: step.figures for step in metrics_of_all_steps(planned.job.output)}
    probes = {
        figure.title: tuple(steps[step].get(figure.name) for step in curve.steps) for figure in PROBE_FIGURES
    }
    return replace(curve, label=label, series={"loss": curve.series["loss"], **probes})
