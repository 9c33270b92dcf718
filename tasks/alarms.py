"""The alarms about a run's models: those of their trainings, and those that their evaluation raises."""

import math
from collections.abc import Mapping

from figa_core.config import PipelineConfig
from figa_core.evaluation.alarms import EvaluationAlarm, Judged, evaluation_alarms
from figa_core.records import Split
from figa_core.storage.evaluations import Evaluation, evaluations_of, prompt_values, response_shapes
from figa_core.storage.responses import Samples
from figa_core.storage.runs import Findings, Run, find_run, save_findings
from figa_core.training.metrics import read_metrics
from figa_core.training.objectives.registry import label_of, objective_names
from tasks.train import BASE_LABEL
from tasks.workspace import Workspace


def judge_alarms(
    workspace: Workspace, run_id: str, config: PipelineConfig, label: str
) -> list[EvaluationAlarm]:
    """Store the alarms that the evaluation of this model raises; returns those that were not known."""
    run = find_run(workspace.database, run_id)
    base, trained = (_judged(workspace, run, config, each) for each in (BASE_LABEL, label))
    found = evaluation_alarms(base, trained, _losses(workspace, run, label))
    known = run.found.evaluation_alarms.get(label, ())
    texts = tuple(alarm.text for alarm in found)
    if texts != known:
        save_findings(workspace.database, run_id, Findings(evaluation_alarms={label: texts}))
    return [alarm for alarm in found if alarm.text not in known]


def alarms_of(run: Run) -> dict[str, tuple[str, ...]]:
    """All alarms of a run by the label of the model; only models with an alarm."""
    during, after = run.found.alarms, run.found.evaluation_alarms
    labels = dict.fromkeys((*during, *after))
    found = {label: (*during.get(label, ()), *after.get(label, ())) for label in labels}
    return {label: texts for label, texts in found.items() if texts}


def _judged(workspace: Workspace, run: Run, config: PipelineConfig, label: str) -> Judged:
    rows = {row.metric: row for row in evaluations_of(workspace.database, run.run_id) if row.label == label}
    if not rows:
        return Judged({}, {}, {}, {})
    samples = Samples(
        run.run_id,
        next(iter(rows.values())).generator_id,
        Split.HELD_OUT,
        max_prompts=config.evaluation.max_prompts,
    )
    shapes = response_shapes(workspace.database, samples)
    return Judged(
        lengths={prompt: float(tokens) for prompt, tokens, _ in shapes},
        entropies={prompt: entropy for prompt, _, entropy in shapes},
        rewards=_values(workspace, samples, rows, "reward"),
        verifier=_values(workspace, samples, rows, "verifier"),
    )


def _values(
    workspace: Workspace, samples: Samples, rows: Mapping[str, Evaluation], metric: str
) -> dict[str, float]:
    if metric not in rows:
        return {}
    return prompt_values(workspace.database, samples, rows[metric].scorer_id)


def _losses(workspace: Workspace, run: Run, label: str) -> list[float]:
    """Of the training's steps, if this run trained the model."""
    objective = next((name for name in objective_names() if label_of(name) == label), None)
    training_id = run.found.trainings.get(objective) if objective else None
    if training_id is None:
        return []
    steps = read_metrics(workspace.training(training_id) / "metrics.jsonl")
    return [step.loss for step in steps if not step.skipped and math.isfinite(step.loss)]
