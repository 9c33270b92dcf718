"""What experiment trackers get of a run: each training while it runs, and its evaluation and report later."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from figa_core.config import TrackingConfig
from figa_core.config.decisions import settings_of
from figa_core.evaluation.statistics import Estimate, estimate, paired_difference
from figa_core.report.comparison import compare, verdict_on
from figa_core.report.configuration import setting_text
from figa_core.report.data import ModelScores, ReportData
from figa_core.report.methods.data import MethodOutcome, MethodsData, TrainingOutcome, judged
from figa_core.rl.job import RlJob
from figa_core.rl.job_rewards import ModelReward, ProgramReward
from figa_core.tracking.files import Results, write_results
from figa_core.tracking.follow import Trackers, send, tracked
from figa_core.tracking.tracker import TrackedRun
from figa_core.training.job import TrainingJob
from figa_core.training.objectives.registry import label_of
from tasks.workspace import Workspace

_OF_TRAINING = ("loss", "training", "alarms")  # sent when it starts


def trackers_of(workspace: Workspace, config: TrackingConfig) -> Trackers:
    """The trackers of these settings, with what they write in the workspace."""
    return Trackers(config.to, workspace.tracking, workspace.logs)


@contextmanager
def tracking(job: TrainingJob | RlJob) -> Iterator[None]:
    """Send a training to the trackers of its settings while the block runs it; see `follow.tracked`."""
    if not job.tracking.to:
        yield
        return
    workspace = Workspace.of_training(job.output)
    with tracked(job.output, tracked_run(workspace, job), trackers_of(workspace, job.tracking)):
        yield


def _rewards_of(job: RlJob) -> dict[str, str]:
    first, *others = job.rewards
    if isinstance(first, ModelReward) and not others:
        return {"reward_model": str(first.model)}
    named = (each.function if isinstance(each, ProgramReward) else str(each.model) for each in job.rewards)
    return {"rewards": ", ".join(named)}


def tracked_run(workspace: Workspace, job: TrainingJob | RlJob) -> TrackedRun:
    """How trackers show a training."""
    group = workspace.directory.name
    if isinstance(job, RlJob):
        label, learns_from = job.of_method.label, _rewards_of(job)
        settings = {f"rl.{name}": _setting(name, value) for name, value in job.settings_in_id().items()}
    else:
        label, learns_from = label_of(job.objective), {"shards": job.shards.name}
        settings = {
            f"{each.section}.{each.field}": _setting(each.field, each.value)
            for each in settings_of(job, *_OF_TRAINING)
        }
    about = {
        "training_id": job.training_id,
        **learns_from,
        "model": str(job.model),
        "output": str(job.output),
        "steps": job.steps,
    }
    name = f"{group}: {label} {job.training_id[-8:]}"
    return TrackedRun(name, job.tracking.project, group, {**about, **settings})


def track_results(workspace: Workspace, config: TrackingConfig, data: ReportData) -> int:
    """Send the evaluations of a run's models, its settings and its report; returns how many trainings."""
    found = {
        training: _results(workspace, data, model)
        for model in data.models
        if (training := _training_of(workspace, model)) is not None
    }
    for training, results in found.items():
        with suppress(OSError):  # a full disk: then its figures are sent at the next evaluation
            write_results(training, results)
    send(list(found), trackers_of(workspace, config))
    return len(found)


def track_methods(workspace: Workspace, config: TrackingConfig, data: MethodsData) -> int:
    """Send the scores of a comparison to its trainings, with its report; returns to how many.

    They are those of the prompts that judge. Each training has those of its own seed and learning rate.
    """
    found = {
        workspace.training(each.training_id): _results_of(workspace, data, method, each)
        for method in data.methods
        for each in judged(method.trainings)
    }
    for training, results in found.items():
        with suppress(OSError):  # as above; or the training was cleaned up
            write_results(training, results)
    send(list(found), trackers_of(workspace, config))
    return len(found)


def _results_of(
    workspace: Workspace, data: MethodsData, method: MethodOutcome, training: TrainingOutcome
) -> Results:
    name = f"evaluation/{data.metric}"
    common = data.base.keys() & training.judged.keys()
    before, after = ({key: scores[key] for key in common} for scores in (data.base, training.judged))
    figures = {
        **_estimate(name, estimate(training.judged.values())),
        **_estimate(f"{name}_base", estimate(before.values())),
        **_estimate(f"{name}_change", paired_difference(before, after)),
    }
    settings = {"run_id": data.run_id, "method": method.name, "pairs": str(method.pairs)}
    report = workspace.methods_report(data.run_id)
    return Results(figures, settings, (str(report),) if report.is_file() else ())


def _training_of(workspace: Workspace, model: ModelScores) -> Path | None:
    training = None if model.directory is None else Path(model.directory).parent
    return training if training is not None and training.parent == workspace.training("x").parent else None


def _results(workspace: Workspace, data: ReportData, model: ModelScores) -> Results:
    row = {row.label: row for row in compare(data).rows}[model.label]
    figures: dict[str, float] = {}
    for metric, mean in row.estimates.items():
        figures |= _estimate(f"evaluation/{metric}", mean)
    for metric, difference in row.to_base.items():
        figures |= _estimate(f"evaluation/{metric}_base", difference.before)
        figures |= _estimate(f"evaluation/{metric}_change", difference.change)
    settings = {
        f"{section}.{name}": text
        for section, values in data.configuration.items()
        for name, text in values.items()
        if section not in _OF_TRAINING
    }
    verdict = verdict_on(data.base, model).outcome.value
    report = workspace.report(data.run_id)
    return Results(
        figures,
        {**settings, "run_id": data.run_id, "verdict": verdict},
        (str(report),) if report.is_file() else (),
    )


def _estimate(name: str, found: Estimate) -> dict[str, float]:
    """The mean and its 95 % interval, as far as there are enough prompts."""
    if not found.n:
        return {}
    low, high = found.interval or (None, None)
    figures = {name: found.mean, f"{name}_low": low, f"{name}_high": high}
    return {key: value for key, value in figures.items() if value is not None and math.isfinite(value)}


def _setting(name: str, value: object) -> str | int | float | bool:
    """Numbers as they are, so that trackers can sort by them; everything else as in the report."""
    return value if isinstance(value, (bool, int, float)) else setting_text(name, value)
