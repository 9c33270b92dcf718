"""A sweep of the learning rate: short trainings on a part of the pairs, judged by held-out ones.

    SWEEP/job.json                    what it is made from, for `figa clean`
    SWEEP/train/, SWEEP/held-out/     shard sets, made from the training's
    SWEEP/base/                       log-probabilities of the base model on the held-out revisions
    SWEEP/rate-3.0e-05/               the short training of one rate, until it is judged
    SWEEP/rate-3.0e-05.json           its result
    SWEEP/manifest.json               the result of the sweep, written last

A sweep that is stopped continues where it stopped: results stay, and the short trainings have checkpoints.
`learning_rate.py` decides what is tried and what wins.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from figa_core.errors import DivergedTrainingError, TrainingError, one_line
from figa_core.file_hashes import read_sealed, write_sealed
from figa_core.records import EditClass, WeighedPair
from figa_core.shards.manifest import FACTORS, ShardManifest, read_manifest
from figa_core.shards.read import iter_tables, pairs_of
from figa_core.shards.write import write_shards
from figa_core.training import reference_log_probs
from figa_core.training.directory_lock import locked
from figa_core.training.held_out import drawn_apart
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.learning_rate import Trial, Yardstick, best_rate, held_out_count
from figa_core.training.nodes.board import OtherNodes
from figa_core.training.reference_process import run_log_probs

MANIFEST_NAME = "manifest.json"
_PAIRS_PER_SHARD = 10_000
_LOGGER = logging.getLogger("figa_core.training")

MeanNll = tuple[float, float]
"""Of the edited and of the unchanged tokens, in nats."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """The result: `chosen` has the lowest yardstick of the `trials`.

    `parameters` is the model's size. Each trial trained for `steps` on pairs that were not `held_out`.
    """

    sweep_id: str
    parameters: int
    steps: int
    held_out: int
    trials: tuple[Trial, ...]
    chosen: float


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What to sweep. `jobs` are the short trainings by their rates, on the shard set `directory`/train.

    `apart`: so many pairs are held out of the training itself, and of the short ones as well.
    """

    sweep_id: str
    directory: Path
    parameters: int
    shards: Path
    jobs: Sequence[TrainingJob]
    apart: int = 0

    @property
    def steps(self) -> int:
        """Of each short training."""
        return self.jobs[0].steps


def train_shards(directory: Path) -> Path:
    """The shard set of the short trainings."""
    return directory / "train"


def run_sweep(
    plan: SweepPlan, *, on_step: Callable[[int], None], log_path: Path, others: OtherNodes | None = None
) -> Sweep:
    """Try every rate, or continue; returns the stored result of a finished sweep.

    `on_step` gets the number of steps that are done, over all rates; `others` as in `run_training`.

    Raises:
        DivergedTrainingError: every rate diverged; the message names them.
        TrainingError: a short training could not run.
        StorageError: the shard set is damaged, or a file cannot be written.
        InterruptedRunError: somebody asked to stop.
    """
    with locked(plan.directory, f"sweep {plan.sweep_id}"):
        if (done := read_sweep(plan.directory)) is not None:
            return done
        _write(plan.directory / "job.json", {"shards": str(plan.shards), "model": str(plan.jobs[0].model)})
        held_out = _write_parts(plan)
        base = _Base(plan, log_path)
        trials = []
        for index, job in enumerate(plan.jobs):
            before = index * plan.steps
            trials.append(
                _trial(plan, job, base, lambda step, before=before: on_step(before + step), log_path, others)
            )
            _LOGGER.info("learning rate %s", trial_line(trials[-1]))
        chosen = best_rate(trials)
        if chosen is None:
            raise DivergedTrainingError(
                "the training diverged with every learning rate that was tried: "
                f"{'; '.join(map(trial_line, trials))}. Set training.learning_rate to a lower number."
            )
        sweep = Sweep(plan.sweep_id, plan.parameters, plan.steps, held_out, tuple(trials), chosen)
        _LOGGER.info("learning rate %g is taken, by %d held-out pairs", chosen, held_out)
        write_sweep(plan.directory, sweep)
    return sweep


def trial_line(trial: Trial) -> str:
    """Such as "3e-05: -0.410 (edited -0.430, unchanged +0.020)", in nats per token against the base."""
    if trial.found is None:
        return f"{trial.rate:g}: {trial.problem}"
    found = trial.found
    return (
        f"{trial.rate:g}: {found.total:+.3f} (edited {found.edited:+.3f}, unchanged {found.unchanged:+.3f})"
    )


def read_sweep(directory: Path, name: str = MANIFEST_NAME) -> Sweep | None:
    """The result in this directory; None if there is none.

    Raises:
        TrainingError: it is damaged.
    """
    path = directory / name
    try:
        fields = read_sealed(path)
        return Sweep(**{**fields, "trials": tuple(map(_trial_of, fields["trials"]))})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{path}: damaged ({error}). Remove {path.parent}, and sweep again.") from error


def write_sweep(directory: Path, sweep: Sweep, name: str = MANIFEST_NAME) -> None:
    """Raises TrainingError if it cannot be written."""
    _write(directory / name, asdict(sweep))


def _trial_of(fields: dict[str, Any]) -> Trial:
    found = fields["found"]
    return Trial(**{**fields, "found": None if found is None else Yardstick(**found)})


def _stored_trial(path: Path) -> Trial | None:
    """None if it is missing or damaged: then the rate is tried again."""
    try:
        return _trial_of(read_sealed(path))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(path: Path, fields: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(path, fields)
    except OSError as error:
        raise TrainingError(f"{path}: cannot write: {error.strerror or error}. Free space.") from error


class _Base:
    """The base model on the held-out pairs, looked at only if a rate is still to be judged."""

    def __init__(self, plan: SweepPlan, log_path: Path) -> None:
        self._plan, self._log_path = plan, log_path

    @cached_property
    def nll(self) -> MeanNll:
        plan = self._plan
        return _mean_nll(plan, plan.jobs[0].model, plan.directory / "base", self._log_path)


def _trial(
    plan: SweepPlan,
    job: TrainingJob,
    base: "_Base",
    on_step: Callable[[int], None],
    log_path: Path,
    others: OtherNodes | None,
) -> Trial:
    path = job.output.with_name(f"{job.output.name}.json")
    if (done := _stored_trial(path)) is not None:
        on_step(job.steps)
        return done
    log_probs = job.output.with_name(f"{job.output.name}.log-probs")
    try:
        run_training(job, on_step=lambda step: on_step(step.step), log_path=log_path, others=others)
    except DivergedTrainingError as error:
        trial = Trial(job.learning_rate, None, f"it diverged: {one_line(error)}")
    else:
        edited, unchanged = _mean_nll(plan, job.model_dir, log_probs, log_path)
        trial = Trial(job.learning_rate, Yardstick(edited - base.nll[0], unchanged - base.nll[1]))
    if not trial.usable and trial.problem is None:
        trial = Trial(job.learning_rate, None, "its loss on the held-out pairs is not a finite number")
    _write(path, asdict(trial))
    for directory in (job.output, log_probs):  # as large as the model
        shutil.rmtree(directory, ignore_errors=True)
    on_step(job.steps)  # one that diverged has done fewer
    return trial


def _mean_nll(plan: SweepPlan, model: Path, output: Path, log_path: Path) -> MeanNll:
    held_out, budget = plan.directory / "held-out", plan.jobs[0].training.tokens_per_batch
    run_log_probs(
        model,
        held_out,
        output,
        ("revision",),
        tokens_per_batch=budget,
        share_prefixes=plan.jobs[0].training.prefix_sharing is not False,
        log_path=log_path,
    )
    column = reference_log_probs.read(output).column("revision")
    nll = -np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks])
    classes = np.concatenate(
        [
            chunk.flatten().to_numpy(zero_copy_only=False)
            for table in iter_tables(held_out)
            for chunk in table.column("revision_classes").chunks
        ]
    )
    return mean_nll(nll, classes)


def mean_nll(nll: "np.ndarray[Any, Any]", classes: "np.ndarray[Any, Any]") -> MeanNll:
    """Over the edited tokens, end of turn included, and over the unchanged ones; 0 for a kind without any."""
    unchanged = classes == EditClass.KEPT
    edited_mean, unchanged_mean = (
        float(kind.mean(dtype=np.float64)) if len(kind) else 0.0 for kind in (nll[~unchanged], nll[unchanged])
    )
    return edited_mean, unchanged_mean


def _write_parts(plan: SweepPlan) -> int:
    """Write both shard sets; returns the number of held-out pairs."""
    manifest = read_manifest(plan.shards)
    if manifest is None:
        raise TrainingError(f"{plan.shards}: no complete shard set here. Weigh first.")
    ids = (pair_id for table in iter_tables(plan.shards) for pair_id in table.column("pair_id").to_pylist())
    apart = drawn_apart(ids, max(held_out_count(manifest.pairs), plan.apart))
    held_out = drawn_apart(apart, held_out_count(manifest.pairs))
    wanted = plan.steps * plan.jobs[0].pairs_per_step
    trained_on = (pair for pair in _pairs(plan.shards) if pair.pair_id not in apart)
    judged_on = (pair for pair in _pairs(plan.shards) if pair.pair_id in held_out)
    _write_part(train_shards(plan.directory), manifest, islice(trained_on, wanted), plan)
    _write_part(plan.directory / "held-out", manifest, judged_on, plan)
    return len(held_out)


def _pairs(shards: Path) -> Iterator[WeighedPair]:
    for table in iter_tables(shards):
        yield from pairs_of(table)


def _write_part(directory: Path, whole: ShardManifest, pairs: Iterator[WeighedPair], plan: SweepPlan) -> None:
    write_shards(
        directory,
        pairs,
        shard_set_id=f"{whole.shard_set_id}.{plan.sweep_id}.{directory.name}",
        tokenizer_hash=whole.tokenizer_hash,
        template_hash=whole.template_hash,
        scheme=whole.scheme,
        max_length=whole.max_length,
        pairs_per_shard=_PAIRS_PER_SHARD,
        with_factors=FACTORS in next(iter_tables(plan.shards)).schema.names,
    )
