"""Stage report: everything stored about a run → one self-contained HTML file."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from math import isnan
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.chat.thinking import thoughts_of
from figa_core.config import PipelineConfig
from figa_core.config.roles import dependent_judge
from figa_core.errors import WorkspaceError
from figa_core.findings import shortened
from figa_core.inference.vllm_python import vllm_version
from figa_core.report.configuration import configuration_sections, library_versions
from figa_core.report.data import (
    ModelScores,
    ReportData,
    RevisionCalls,
    RewardSamples,
    Spending,
    TrainingCurve,
)
from figa_core.report.sentences import percent
from figa_core.shards.manifest import read_manifest as read_shard_manifest
from figa_core.storage import revisions, summary
from figa_core.storage.prompts import types_of
from figa_core.storage.responses import count_thoughts
from figa_core.storage.runs import DATASET_ONLY, FAILED, Run, find_run
from figa_core.storage.summary import Counts
from figa_core.training.alarms import KL_FROM_BASE, PROBE_FIGURES, Alarm
from figa_core.training.checkpoints import TrainingManifest, read_dropped, read_manifest
from figa_core.training.going_back import metrics_of_all_steps
from figa_core.training.held_out import HELD_OUT_LOSS, HeldOut
from figa_core.training.metrics import StepMetrics
from figa_core.training.objectives.registry import label_of, objective_named
from figa_core.training.sweep import trial_line
from tasks.alarms import alarms_of
from tasks.annotate import people_said
from tasks.benchmark_report import shown_benchmarks
from tasks.chat_formats import generation_chat, thinking_line
from tasks.funnel import funnel_of
from tasks.graded import fallback_line, graded_so_far
from tasks.grading_settings import GradingSections
from tasks.judged_models import JudgedModels, judged_models, trained_model
from tasks.prefer import judged_pairs
from tasks.report_examples import held_out_answers, pair_examples
from tasks.reward_facts import reward_facts, reward_notes
from tasks.sweep import sweep_of
from tasks.train import steps_line
from tasks.verdict_files import write_verdicts
from tasks.workspace import Workspace

_FAILURE_SHOWN = 200
_STEPS_DRAWN = 2000


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report(workspace: Workspace, run_id: str, created_at: str) -> ReportData:
    """Write the run's report and its verdicts; returns what the report shows."""
    data = collect(workspace, run_id, created_at)
    write(workspace, data)
    return data


def time_of_report() -> str:
    """The current time in the report's format."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def write(workspace: Workspace, data: ReportData) -> None:
    """Write the report, and the verdicts for programs; raises WorkspaceError if that fails."""
    from figa_core.report.html import write_report  # matplotlib, a second to import

    path = workspace.report(data.run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_report(data, path)
        write_verdicts(workspace, data)
    except OSError as error:
        raise WorkspaceError(
            f"{path}: cannot write the report: {error.strerror or error}. Free space or correct the "
            "permissions, then write it again with `figa report`."
        ) from error


def collect(workspace: Workspace, run_id: str, created_at: str) -> ReportData:
    """Everything that a run's report shows; raises InputError if there is no such run."""
    database = workspace.database
    run = find_run(database, run_id)
    config = PipelineConfig.model_validate(run.config)
    counts = summary.counts(database, run_id, run.found.generator)
    models = judged_models(workspace, run, config)
    trained = trained_model(workspace, run, config.loss.objective)
    return ReportData(
        workspace=config.workspace.name,
        run_id=run_id,
        created_at=created_at,
        funnel=funnel_of(counts),
        rewards=_rewards(workspace, run),
        reward_facts=reward_facts(database, run, config),
        examples=pair_examples(workspace, run, config),
        curves=tuple(
            curve_of(workspace.training(run.found.trainings[objective]), objective)
            for objective in (config.loss.objective, *config.evaluation.baselines)
            if objective in run.found.trainings
        ),
        base=models.base,
        main=models.main and _with_change(models.main, models),
        baselines=tuple(_with_change(model, models) for model in models.others),
        unjudged=None if counts.held_out_prompts or not trained else label_of(config.loss.objective),
        configuration=configuration_sections(config),
        versions=library_versions() | vllm_version(),
        revision_calls=_calls(workspace, run, config, counts),
        notes=tuple(_notes(workspace, run, config)),
        alarms=alarms_of(run),
        people=people_said(workspace, run),
        judged_pairs=tuple(judged_pairs(workspace, run, config)),
        answers=held_out_answers(workspace, run, config, models),
        spending=Spending(**asdict(revisions.spent(database, run_id))),
        judge_chose_pairs=dependent_judge(config) is not None,
        dataset_only=run.status == DATASET_ONLY,
        failure=_failure(run),
        types=types_of(database, run_id),
        benchmarks=shown_benchmarks(workspace, run, config),
    )


def _failure(run: Run) -> str | None:
    """The first line of what a failed run says."""
    if run.status != FAILED:
        return None
    return shortened(_first_line(run.message or "without a message").removesuffix("."), _FAILURE_SHOWN)


def _with_change(model: ModelScores, models: JudgedModels) -> ModelScores:
    return replace(model, change=models.changes.change(model.label))


def _notes(workspace: Workspace, run: Run, config: PipelineConfig) -> Iterator[str]:
    if config.workspace.note:
        yield config.workspace.note
    yield from reward_notes(workspace.database, run, config)
    if GradingSections.of(config) and (line := fallback_line(graded_so_far(workspace.database, run.run_id))):
        yield f"{_first_line(line)}."
    thoughts = thoughts_of(generation_chat(config.generation))
    if thoughts is not None:
        yield f"{thinking_line(config.generation, thoughts)}. {_thoughts_drawn(workspace, run)}"
    shard_set_id = run.found.shard_set_id
    manifest = read_shard_manifest(workspace.shards(shard_set_id)) if shard_set_id else None
    if manifest is not None:
        yield (
            f"{manifest.canonical_pairs:,} of {manifest.pairs:,} weighed responses were generated as the "
            "same tokens that their text is tokenized to. Edits are computed on the tokenized texts, so the "
            "others show no false edits."
        )
        if line := steps_line(config.training, manifest.pairs):
            yield f"{line[0].upper()}{line[1:].removesuffix('.')}."


def _thoughts_drawn(workspace: Workspace, run: Run) -> str:
    found = count_thoughts(workspace.database, run.run_id, run.found.generator or "")
    return (
        f"{found.with_thought:,} of its {found.responses:,} responses begin with a thought, and "
        f"{found.all_thought:,} are nothing else: these count as empty answers and are not revised."
    )


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removesuffix(":")


def _rewards(workspace: Workspace, run: Run) -> RewardSamples:
    found = summary.rewards(workspace.database, run.run_id, run.found.generator, run.found.scorer)
    thresholds = run.found.thresholds
    return RewardSamples(
        initial=tuple(found["initial"]),
        revised=tuple(found["revised"]),
        reference=tuple(found["reference"]),
        response_below=_drawn(thresholds.response_reward_below) if thresholds else None,
        reference_above=_drawn(thresholds.reference_reward_above)
        if thresholds and found["reference"]
        else None,
    )


def _drawn(threshold: float) -> float | None:
    """None for NaN, the quantile of no values."""
    return None if isnan(threshold) else threshold


def curve_of(training: Path, objective: str) -> TrainingCurve:
    """The curve of the training in this directory, finished or not."""
    steps = metrics_of_all_steps(training)
    each = max(1, len(steps) // _STEPS_DRAWN)
    looks = {KL_FROM_BASE.name, HELD_OUT_LOSS.name}
    steps = [s for place, s in enumerate(steps) if place % each == 0 or looks & s.figures.keys()]
    shown, manifest = objective_named(objective), _manifest(training)
    watched = any(KL_FROM_BASE.name in step.figures for step in steps)
    judged = any(HELD_OUT_LOSS.name in step.figures for step in steps)
    figures = (
        *([HELD_OUT_LOSS] if judged else []),
        *shown.figures,
        *(PROBE_FIGURES if watched else ()),
    )
    return TrainingCurve(
        label=shown.label,
        steps=tuple(step.step for step in steps),
        series={"loss": tuple(step.loss for step in steps)}
        | _rates(steps)
        | {
            figure.title: tuple(step.figures.get(figure.name) for step in steps)
            for figure in figures
            if not steps or any(figure.name in step.figures for step in steps)
        },
        facts=_facts(steps, manifest) | _sweep_facts(training),
        seconds=manifest.wall_seconds if manifest else None,
        ended_by=_alarm_name(manifest.ended_by) if manifest and manifest.ended_by else None,
    )


def _manifest(training: Path) -> TrainingManifest | None:
    """Of a finished training, also of one whose model was removed."""
    dropped = read_dropped(training)
    return read_manifest(training) or (dropped.training if dropped else None)


def _rates(steps: list[StepMetrics]) -> dict[str, tuple[float, ...]]:
    """The learning rate of every step, unless it is constant."""
    rates = tuple(step.learning_rate for step in steps)
    return {"learning rate": rates} if len(set(rates)) > 1 else {}


def _sweep_facts(training: Path) -> dict[str, str]:
    found = sweep_of(training)
    if found is None:
        return {}
    judged = f"held-out NLL against the base's, after {found.steps} steps, {found.held_out} pairs"
    return {"learning rate chosen by a sweep": judged} | {
        f"rate {trial.rate:g}": trial_line(trial).partition(": ")[2] for trial in found.trials
    }


def _facts(steps: list[StepMetrics], manifest: TrainingManifest | None) -> dict[str, str]:
    facts = {}
    if steps:
        facts["pairs per step"] = str(steps[0].pairs)
        highest = max(step.learning_rate for step in steps)
        facts["learning rate"] = f"up to {highest:g}" if _rates(steps) else f"{highest:g}"
    if manifest is not None:
        planned = manifest.planned_steps or manifest.steps
        facts["steps"] = str(manifest.steps) + (f" of {planned}" if planned > manifest.steps else "")
        facts |= _watch_facts(manifest) | _held_out_facts(manifest.held_out)
        if without := manifest.skipped_steps + manifest.overflowed_steps:
            facts["steps without an update"] = f"{without}, {manifest.overflowed_steps} of them overflowed"
        if manifest.change is not None:
            facts["weights moved by"] = percent(manifest.change.relative)
            facts["judged in"] = manifest.change.dtype
        facts["wall time"] = f"{manifest.wall_seconds:.0f} s"
        facts["peak memory of the ranks"] = f"{manifest.peak_rss_bytes / 2**30:.1f} GiB"
    return facts


def _alarm_name(alarm: Alarm) -> str:
    return alarm.name.replace("_", " ")


def _watch_facts(manifest: TrainingManifest) -> dict[str, str]:
    """How the model was examined for damage."""
    if manifest.ended_by is not None:
        return {"ended by an alarm": _alarm_name(manifest.ended_by)}
    if (watched := manifest.watched) is None:
        return {}
    often = "every step" if watched.every == 1 else f"every {watched.every} steps"
    share = watched.seconds / max(manifest.wall_seconds, watched.seconds, 1e-9)
    return {"examined": f"{often} on {watched.pairs} pairs, {percent(share)} of the time"}


def _held_out_facts(found: HeldOut | None) -> dict[str, str]:
    if found is None:
        return {}
    before = "" if found.before is None else f"; {found.before:.3g} before the first step"
    ended = "; the training ended because it got no lower" if found.patience_ended else ""
    return {
        HELD_OUT_LOSS.title: f"lowest after step {found.best_step}: {found.best_loss:.3g}, of {found.looks} "
        f"looks at {found.pairs} pairs{before}{ended}"
    }


def _calls(workspace: Workspace, run: Run, config: PipelineConfig, counts: Counts) -> RevisionCalls | None:
    calls = revisions.calls(workspace.database, run.run_id, run.started_at)
    if not calls.calls:
        return None
    spent = revisions.spent(workspace.database, run.run_id)
    estimated = f", ${spent.estimated_usd:,.2f} of it estimated" if spent.estimated_usd else ""
    return RevisionCalls(
        model=config.revision.model,
        calls=calls.calls,
        outcomes={"succeeded": counts.revised, **counts.not_revised},
        attempts={outcome.replace("_", " "): n for outcome, n in calls.by_outcome.items()},
        prompt_tokens=calls.prompt_tokens,
        completion_tokens=calls.completion_tokens,
        wall_time_s=calls.seconds_since_start,
        cost=None if spent.usd is None else f"${spent.usd:,.2f}{estimated}",
        calls_this_run=calls.since_start,
    )
