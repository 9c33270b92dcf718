"""What `figa status` and `figa report` read from a workspace; nothing here changes a row."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from figa_core.config import PipelineConfig
from figa_core.evaluation.verdict import NOT_JUDGED
from figa_core.processes.lease import describe_holder, is_held
from figa_core.report.data import ReportData
from figa_core.report.funnel import Funnel, FunnelStep, funnel_lines
from figa_core.report.sentences import verdict_sentence
from figa_core.storage import grades, revisions, summary
from figa_core.storage.evaluations import evaluations_of
from figa_core.storage.runs import INTERRUPTED, RUNNING, Run, find_run, latest_runs
from figa_core.training.objectives.registry import label_of
from figa_core.weighting.schemes import HIGHEST_SCORES
from flows.run.existing import existing_workspace
from tasks.alarms import alarms_of
from tasks.funnel import funnel_of
from tasks.graded import open_grades_text
from tasks.judged_models import judged_models, trained_model
from tasks.report import collect, time_of_report, write
from tasks.revised import open_rows_text
from tasks.workspace import Workspace

_EVALUATION = ("label", "metric", "n", "mean", "standard_error", "left_out")


def write_report(workspace: Workspace, run_id: str | None) -> tuple[ReportData, Path]:
    """Write the report of a run (by default the latest) again; raises InputError if there is no such run."""
    run = find_run(workspace.database, run_id)
    data = collect(workspace, run.run_id, time_of_report())
    write(workspace, data)
    return data, workspace.report(run.run_id)


def workspace_status(directory: Path) -> dict[str, Any]:
    """The workspace's holder and runs, ready for JSON; raises InputError if there is no workspace."""
    workspace = existing_workspace(directory)
    directory = workspace.directory
    held = is_held(directory)
    return {
        "workspace": str(directory),
        "held_by": describe_holder(directory) if held else None,
        "runs": [_run_status(workspace, run, held=held) for run in latest_runs(workspace.database)],
    }


def _run_status(workspace: Workspace, run: Run, *, held: bool) -> dict[str, Any]:
    database = workspace.database
    killed = run.status == RUNNING and not held  # a killed process does not record its end
    funnel = funnel_of(summary.counts(database, run.run_id, run.found.generator))
    report, comparison = workspace.report(run.run_id), workspace.methods_report(run.run_id)
    waiting = revisions.open_by_kind(database, run.run_id)
    return {
        "run_id": run.run_id,
        "name": run.name,
        "status": INTERRUPTED if killed else run.status,
        "message": "its process was killed: the same command continues" if killed else run.message,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "ended_at": run.ended_at and run.ended_at.isoformat(timespec="seconds"),
        "steps": [
            {"name": s.name, "rows": s.count, "left_out": {d.reason: d.count for d in s.drops}}
            for s in funnel.steps
        ],
        "open_revisions": sum(waiting.values()),
        "open_by_kind": waiting,
        "open_grades": grades.open_by_kind(database, run.run_id),
        "spending": _spending(workspace, run, sum(waiting.values())),
        "evaluations": [
            {name: getattr(row, name) for name in _EVALUATION} for row in evaluations_of(database, run.run_id)
        ],
        **_verdicts(workspace, run),
        "alarms": alarms_of(run),
        "report": str(report.resolve()) if report.is_file() else None,
        "comparison": str(comparison.resolve()) if comparison.is_file() else None,
    }


def _verdicts(workspace: Workspace, run: Run) -> dict[str, Any]:
    """The run's verdict and that on each of its models, for programs and in a sentence."""
    if not run.config:
        return {"verdict": None, "models": {}}
    config = PipelineConfig.model_validate(run.config)
    models = judged_models(workspace, run, config)
    found = models.verdicts()
    main = found.get(label_of(config.loss.objective))
    if main is None and trained_model(workspace, run, config.loss.objective):
        main = NOT_JUDGED
    return {
        "verdict": main and main.as_json(),
        "models": {
            model.label: {
                "directory": model.directory,
                "sentence": verdict_sentence(model, found[model.label], models.base),
                **found[model.label].as_json(),
            }
            for model in models.trained
        },
    }


def _spending(workspace: Workspace, run: Run, waiting: int) -> dict[str, float | int | None]:
    """US dollars spent and left, and the minutes left at the configured limits."""
    spent = revisions.spent(workspace.database, run.run_id)
    budget = run.config.get("spending", {}).get("budget_usd")
    revision = run.config.get("revision", {})
    calls = revisions.calls(workspace.database, run.run_id, run.started_at)
    tokens_each = (calls.prompt_tokens + calls.completion_tokens) / max(calls.calls, 1)
    minutes = max(
        waiting / revision.get("requests_per_minute", float("inf")),
        waiting * tokens_each / revision.get("tokens_per_minute", float("inf")),
    )
    return {
        "calls": spent.calls,
        "graded": run.config.get("weighting", {}).get("scheme") in HIGHEST_SCORES,
        "usd": spent.usd,
        "estimated_usd": spent.estimated_usd,
        "budget_usd": budget,
        "left_usd": None if budget is None else max(0.0, budget - (spent.usd or 0.0)),
        "eta_minutes": minutes if waiting else None,
    }


def _spending_line(spending: Mapping[str, Any]) -> str:
    line = f"  {spending['calls']:,} calls to the reviser{' and the grader' if spending['graded'] else ''}"
    if spending["usd"] is not None:
        line += f", ${spending['usd']:,.4f} spent"
        if spending["estimated_usd"]:
            line += f" (${spending['estimated_usd']:,.4f} of it estimated: no answer arrived)"
    if spending["left_usd"] is not None:
        line += f", ${spending['left_usd']:,.4f} left of ${spending['budget_usd']:,.2f}"
    return line


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The result of `workspace_status` as lines for people."""
    yield f"workspace {found['workspace']}"
    if found["held_by"]:
        yield f"held by {found['held_by']}"
    if not found["runs"]:
        yield "no run yet"
    for run in found["runs"]:
        yield ""
        yield f"{run['name']}: {run['status']}, started {run['started_at']}   {run['run_id']}"
        if run["message"]:
            yield from (f"  {line}" for line in run["message"].splitlines())
        steps = Funnel(tuple(FunnelStep(step["name"], step["rows"]) for step in run["steps"]))
        yield from (f"  {line}" for line in funnel_lines(steps) if "no reason recorded" not in line)
        if run["spending"]["calls"]:
            yield _spending_line(run["spending"])
        if run["open_revisions"]:
            eta = run["spending"]["eta_minutes"]
            yield f"  {open_rows_text(run['open_by_kind'])}; about {eta:,.1f} min at the configured limits"
            retry = f"figa retry-revisions --workspace {found['workspace']} --run {run['run_id']}"
            yield f"  ask for them again: {retry}"
        if run["open_grades"]:
            yield f"  {open_grades_text(run['open_grades'])}; the same command asks for them again"
        for row in run["evaluations"]:
            rows = f"n = {row['n']:,}" + (f", {row['left_out']:,} left out" if row["left_out"] else "")
            error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
            yield f"  {row['label']}: mean {row['metric']} {row['mean']:.3f}{error} ({rows})"
        yield from (f"  {model['sentence']}" for model in run["models"].values())
        for label, alarms in run["alarms"].items():
            yield from (f"  alarm: {label}: {alarm}" for alarm in alarms)
        if run["report"]:
            yield f"  report: {run['report']}"
        if run["comparison"]:
            yield f"  comparison of methods: {run['comparison']}"
