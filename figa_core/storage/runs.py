"""Runs: the configuration, the end, and what the stages found out for later stages and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from figa_core.errors import InputError
from figa_core.filtering import Thresholds
from figa_core.findings import shortened
from figa_core.storage.database import Database, as_row

RUNNING = "running"
FAILED = "failed"
DATASET_ONLY = "dataset built"  # no training was asked for
INTERRUPTED = "interrupted"  # somebody stopped it
WORSE_MODEL = "worse model"  # all is done, and its model is worse than the base
_ID_SHOWN = 80
_RUNS = "SELECT run_id, name, status, message, config, settings, started_at, ended_at FROM runs"


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run has found out so far; a field is empty or None until its stage has run.

    `generator` and `scorer` (the filter's) are ids, and so are `training_scorer` and `judge_scorer`, of the
    pairs and of the evaluation, `reward_scorers` has those of the rewards by name and
    `judge_templates` the instructions of judges, `pairwise_template` those of the one that compares answers,
    `templates` the reviser's without and with a reference, `grader_template` the grader's, `thresholds` the
    filter's as numbers, `trainings` the training id of each objective, `alarms` those of the training and
    `evaluation_alarms` those of the evaluation of each model, in words, by its label.
    """

    generator: str = ""
    scorer: str = ""
    templates: tuple[str, ...] | None = None
    grader_template: str | None = None
    thresholds: Thresholds | None = None
    shard_set_id: str | None = None
    trainings: Mapping[str, str] = field(default_factory=dict)
    alarms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    evaluation_alarms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    training_scorer: str = ""
    judge_scorer: str = ""
    reward_scorers: Mapping[str, str] = field(default_factory=dict)
    judge_templates: Mapping[str, str] = field(default_factory=dict)
    pairwise_template: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `runs`; `config` is the whole configuration."""

    run_id: str
    name: str
    status: str
    message: str | None
    config: Mapping[str, Any]
    found: Findings
    started_at: datetime
    ended_at: datetime | None


def save_run(
    database: Database, run_id: str, name: str, config: Mapping[str, Any], flow_run: str | None
) -> None:
    """Record that a run starts, or starts again."""
    database.execute(
        "INSERT INTO runs (run_id, name, config, status, flow_run) "
        "VALUES ($run, $name, $config, $status, $flow_run) "
        "ON CONFLICT (run_id) DO UPDATE SET config = excluded.config, status = excluded.status, "
        "flow_run = excluded.flow_run, message = NULL, started_at = now(), ended_at = NULL",
        run=run_id,
        name=name,
        config=orjson.dumps(config).decode(),
        status=RUNNING,
        flow_run=flow_run,
    )


def end_run(database: Database, run_id: str, status: str, message: str | None = None) -> None:
    """Record how a run ended: completed, worse model, failed or interrupted."""
    database.execute(
        "UPDATE runs SET status = $status, message = $message, ended_at = now() WHERE run_id = $run",
        run=run_id,
        status=status,
        message=message,
    )


def save_findings(database: Database, run_id: str, found: Findings) -> None:
    """Add to a run's findings; a field that is empty in `found` stays as it was."""
    with database.transaction() as connection:
        row = connection.execute("SELECT settings FROM runs WHERE run_id = ?", [run_id]).fetchone()
        merged = _merged(_findings(row[0] if row else "{}"), found)
        connection.execute(
            "UPDATE runs SET settings = ? WHERE run_id = ?", [orjson.dumps(merged).decode(), run_id]
        )


def latest_runs(database: Database, limit: int = 20) -> list[Run]:
    """Runs, the latest first."""
    return database.records(_run, f"{_RUNS} ORDER BY started_at DESC LIMIT $n", n=limit)


def all_runs(database: Database) -> list[Run]:
    """Every run, the latest first."""
    return database.records(_run, f"{_RUNS} ORDER BY started_at DESC")


def find_run(database: Database, run_id: str | None = None) -> Run:
    """The run whose id is or begins with `run_id`; without one, the latest.

    Raises:
        InputError: there is none, or several begin with it.
    """
    found = database.records(
        _run,
        f"{_RUNS} WHERE $run IS NULL OR starts_with(run_id, $run) ORDER BY started_at DESC LIMIT 2",
        run=run_id,
    )
    named = shortened(repr(run_id), _ID_SHOWN)
    if not found:
        wanted = f"no run {named}" if run_id else "no run yet"
        raise InputError(f"{database.path}: {wanted}. `figa status` lists the runs of a workspace.")
    if run_id and len(found) > 1:
        raise InputError(f"{database.path}: several runs begin with {named}. Give more of the id.")
    return found[0]


def _run(*, config: str, settings: str, **fields: Any) -> Run:
    return Run(**fields, config=orjson.loads(config), found=_findings(settings))


def _merged(before: Findings, now: Findings) -> Findings:
    found = {name: value for name, value in as_row(now).items() if value}
    trainings = {str(objective): training_id for objective, training_id in now.trainings.items()}
    mappings = {
        "trainings": {**before.trainings, **trainings},
        "alarms": {**before.alarms, **now.alarms},
        "evaluation_alarms": {**before.evaluation_alarms, **now.evaluation_alarms},
    }
    return replace(before, **{**found, **mappings})


def _findings(stored: str) -> Findings:
    """Read the column `settings`; releases up to 0.2 wrote "shards", and a key "training.figa" a training."""
    found = orjson.loads(stored)
    earlier = {k.removeprefix("training."): v for k, v in found.items() if k.startswith("training.")}
    templates, thresholds = found.get("templates"), found.get("thresholds")
    return Findings(
        generator=found.get("generator", ""),
        scorer=found.get("scorer", ""),
        templates=templates and tuple(templates),
        grader_template=found.get("grader_template"),
        # NaN, a quantile of no values, is null in JSON.
        thresholds=thresholds
        and Thresholds(**{k: float("nan") if v is None else v for k, v in thresholds.items()}),
        shard_set_id=found.get("shard_set_id", found.get("shards")),
        trainings={**earlier, **found.get("trainings", {})},
        alarms=_texts_by_label(found.get("alarms", {})),
        evaluation_alarms=_texts_by_label(found.get("evaluation_alarms", {})),
        training_scorer=found.get("training_scorer", found.get("scorer", "")),
        judge_scorer=found.get("judge_scorer", found.get("scorer", "")),
        reward_scorers=found.get("reward_scorers", {}),
        judge_templates=found.get("judge_templates", {}),
        pairwise_template=found.get("pairwise_template"),
    )


def _texts_by_label(found: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {label: tuple(texts) for label, texts in found.items()}
