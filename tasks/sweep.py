"""Stage sweep: a learning rate that is left to a sweep → a number (`figa_core/training/sweep.py`)."""

from collections.abc import Iterable
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.config import AlarmsConfig, HeldOutConfig
from figa_core.errors import TrainingError
from figa_core.models.adapter import underlying
from figa_core.models.fingerprint import model_fingerprint
from figa_core.models.weight_files import read_weights
from figa_core.ports import ProgressCallback
from figa_core.shards.manifest import ShardManifest, read_manifest
from figa_core.training import learning_rate
from figa_core.training.held_out import pairs_apart
from figa_core.training.job import TrainingJob, TrainingSpec
from figa_core.training.nodes.board import OtherNodes
from figa_core.training.sweep import (
    MANIFEST_NAME,
    Sweep,
    SweepPlan,
    read_sweep,
    run_sweep,
    train_shards,
    trial_line,
    write_sweep,
)
from tasks.results import no_progress
from tasks.train import other_nodes, training_job
from tasks.workspace import Workspace

NAME = "sweep.json"
"""Beside a trained model whose rate was chosen by a sweep."""

_NO_ALARMS = AlarmsConfig(unchanged_nll_rise=None, kl_from_base_excess=None, end_of_turn_share=None)


def settled(workspace: Workspace, spec: TrainingSpec) -> TrainingSpec | None:
    """The training with a number as its learning rate; None if that needs a sweep that is not done yet.

    Raises:
        TrainingError: see `plan_sweep`; or the result of the sweep is damaged.
    """
    if spec.training.learning_rate != learning_rate.AUTO:
        return spec
    plan = plan_sweep(workspace, spec)
    if not plan.jobs:
        return with_rate(spec, learning_rate.proposed_rate(plan.parameters, lora=_has_lora(spec)))
    done = read_sweep(plan.directory)
    return None if done is None else with_rate(spec, done.chosen)


@task(name="sweep", task_run_name="sweep learning rates of {spec.loss.objective}", cache_policy=NO_CACHE)
def sweep(
    workspace: Workspace,
    spec: TrainingSpec,
    log_path: Path,
    *,
    on_progress: ProgressCallback = no_progress,
    others: OtherNodes | None = None,
) -> Sweep:
    """Try the rates of a training whose learning rate is "auto", or return the stored result.

    It does not open the database, so it may run where the training runs.

    Raises:
        TrainingError: see `plan_sweep` and `run_sweep`.
    """
    plan = plan_sweep(workspace, spec)
    total = plan.steps * len(plan.jobs)
    return run_sweep(
        plan,
        on_step=lambda done: on_progress(done, total),
        log_path=log_path,
        others=others or other_nodes(workspace),
    )


def plan_sweep(workspace: Workspace, spec: TrainingSpec) -> SweepPlan:
    """The rates and short trainings of a sweep; none if there are too few pairs for one.

    Raises:
        TrainingError: there is no complete shard set, or the model's weights cannot be read.
        InputError: there is no model.
    """
    parameters = parameters_of(spec.model)
    lora = _has_lora(spec)
    proposal = training_job(workspace, with_rate(spec, learning_rate.proposed_rate(parameters, lora=lora)))
    rates = learning_rate.rates_to_try(parameters, lora=lora)
    steps = learning_rate.sweep_steps(proposal.steps)
    shards = _manifest(proposal)
    settings = {name: value for name, value in proposal.settings_in_id().items() if name != "learning_rate"}
    model = model_fingerprint(spec.model, workspace.fingerprints)
    sweep_id = ids.sweep_id(
        model=model, shards=shards.shard_set_id, steps=steps, rates=rates, settings=settings
    )
    directory = workspace.sweep(sweep_id)
    enough = shards.pairs >= learning_rate.PAIRS_LEAST
    jobs = [_short(proposal, directory, sweep_id, rate, steps) for rate in rates] if enough else []
    apart = pairs_apart(spec.training.held_out, shards.pairs)
    return SweepPlan(sweep_id, directory, parameters, spec.shards, jobs, apart)


def sweep_file(workspace: Workspace, spec: TrainingSpec) -> Path | None:
    """Where the result of the sweep is, or will be; None for a training that needs none.

    Raises: see `plan_sweep`.
    """
    if spec.training.learning_rate != learning_rate.AUTO:
        return None
    plan = plan_sweep(workspace, spec)
    return plan.directory / MANIFEST_NAME if plan.jobs else None


def about_rate(workspace: Workspace, spec: TrainingSpec) -> str | None:
    """A line for people about a rate that was left to a sweep and is known now; None for a plain number."""
    if spec.training.learning_rate != learning_rate.AUTO or (found := settled(workspace, spec)) is None:
        return None
    plan, rate = plan_sweep(workspace, spec), found.training.learning_rate
    if not plan.jobs:
        return (
            f"learning rate {rate:g}, for a model of {plan.parameters:,} parameters: fewer than "
            f"{learning_rate.PAIRS_LEAST} pairs are too few to try others"
        )
    done = read_sweep(plan.directory)
    assert done is not None
    return f"learning rate {rate:g}, the best of {'; '.join(trials_of(done))}"


def trials_of(found: Sweep) -> Iterable[str]:
    """A line for each rate: held-out NLL against the base, in nats per token."""
    return (trial_line(trial) for trial in found.trials)


def note_sweep(workspace: Workspace, spec: TrainingSpec, job: TrainingJob) -> None:
    """Put the result of the sweep beside the training that uses it, for the report.

    Raises:
        TrainingError: it cannot be written.
    """
    if spec.training.learning_rate == learning_rate.AUTO:
        found = read_sweep(plan_sweep(workspace, spec).directory)
        if found is not None:
            write_sweep(job.output, found, NAME)


def sweep_of(training: Path) -> Sweep | None:
    """The sweep that chose this training's rate, if one did. Raises TrainingError if it is damaged."""
    return read_sweep(training, NAME)


def with_rate(spec: TrainingSpec, rate: float | str) -> TrainingSpec:
    """The training with this learning rate."""
    return spec.model_copy(update={"training": spec.training.model_copy(update={"learning_rate": rate})})


def parameters_of(model: Path) -> int:
    """The number of weights in a model's files; tied ones count once.

    Raises:
        TrainingError: they cannot be read.
    """
    weights = read_weights(underlying(model))
    if weights.problems or not weights.tensors:
        raise TrainingError("\n".join(weights.problems) or f"{model}: no weights here.")
    return weights.parameters


def _has_lora(spec: TrainingSpec) -> bool:
    return spec.training.lora.rank is not None


def _manifest(job: TrainingJob) -> ShardManifest:
    manifest = read_manifest(job.shards)
    assert manifest is not None  # `training_job` has read it
    return manifest


def _short(proposal: TrainingJob, directory: Path, sweep_id: str, rate: float, steps: int) -> TrainingJob:
    """A short training: no alarm ends it, because the held-out pairs judge it."""
    lora = proposal.training.lora
    name = f"rate-{rate:.1e}"
    return proposal.model_copy(
        update={
            # The sweep's own held-out pairs judge it, after its last step.
            "training": proposal.training.model_copy(
                update={
                    "learning_rate": rate,
                    "held_out": HeldOutConfig(),
                    "lora": lora.model_copy(update={"merge": lora.rank is not None}),  # to be judged
                }
            ),
            "alarms": _NO_ALARMS,
            "training_id": f"{sweep_id}.{name}",
            "shards": train_shards(directory),
            "output": directory / name,
            "steps": steps,
            "pairs_limit": None,
            "reference_log_probs": directory / "train" / "log-probs" / "base"
            if proposal.reference_log_probs
            else None,
        }
    )
