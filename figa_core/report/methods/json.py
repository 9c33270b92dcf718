"""A comparison of methods as JSON, for programs; the same figures as on the page."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from figa_core.evaluation.cost import mean_cost
from figa_core.evaluation.crossed import CrossedEstimate, crossed
from figa_core.report.benchmarks import benchmarks_json
from figa_core.report.methods.comparison import (
    MethodContrast,
    MethodsComparison,
    Row,
    below_base,
    by_type,
    spread_over_seeds,
)
from figa_core.report.methods.data import MethodsData, TrainingOutcome


def methods_json(data: MethodsData, found: MethodsComparison) -> bytes:
    """Equal data gives equal bytes."""
    content = {
        "workspace": data.workspace,
        "run_id": data.run_id,
        "created_at": data.created_at,
        "metric": data.metric.label,
        "validation_prompts": data.validation_prompts,
        "rewards": list(data.rewards),
        "dependent_judge": data.dependent_judge or None,
        "comparisons": found.comparisons,
        "base": _estimate(found.base),
        "rows": [_row(data, row) for row in found.rows],
        "contrasts": [_contrast(each) for each in found.contrasts],
        "by_type": {
            str(pairs): _by_type(by_type(data, pairs)) for pairs in (found.sizes if data.types else ())
        },
        "benchmarks": benchmarks_json(data.benchmarks),
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _row(data: MethodsData, row: Row) -> dict[str, Any]:
    method = row.method
    return {
        "method": method.name,
        "objective": method.objective,
        "pairs": method.pairs,
        "unable": method.unable or None,
        "learning_rate": method.learning_rate,
        "open_rates": list(method.open_rates),
        "score": _estimate(row.estimate),
        "spread_over_seeds": spread_over_seeds(method),
        "trainings_below_base": len(below_base(data, method)),
        "against_base": None if row.to_base is None else _contrast(row.to_base),
        "cost_of_one_training": asdict(mean_cost([each.cost for each in method.chosen])),
        "cost_of_data": asdict(method.data_cost),
        "cost_of_reference_pass": asdict(method.pass_cost),
        "cost_of_sweep": asdict(method.sweep_cost),
        "after_steps": [
            {"steps": point.steps, "score": _estimate(crossed(point.values))} for point in method.after_steps
        ],
        "trainings": [_training(each) for each in method.trainings],
    }


def _training(each: TrainingOutcome) -> dict[str, Any]:
    return {
        "learning_rate": each.learning_rate,
        "seed": each.seed,
        "training_id": each.training_id,
        "outcome": each.outcome,
        "reason": each.reason or None,
        "validation": _mean(each.validation),
        "judged": _mean(each.judged),
        "cost": asdict(each.cost),
        "kl_from_base": each.kl_from_base,
        "model": each.model,
    }


def _mean(values: Mapping[str, float]) -> float | None:
    return sum(values[key] for key in sorted(values)) / len(values) if values else None


def _estimate(estimate: CrossedEstimate) -> dict[str, Any]:
    return {**asdict(estimate), "interval": estimate.interval()}


def _contrast(each: MethodContrast) -> dict[str, Any]:
    return {
        "one": each.one,
        "other": each.other,
        "pairs": each.pairs,
        "change": _estimate(each.change),
        "p": each.change.p_value,
        "p_adjusted": each.p_adjusted,
        "simultaneous_interval": each.interval,
        "told_apart": each.told_apart,
    }


def _by_type(found: Mapping[str, Mapping[str, CrossedEstimate]]) -> dict[str, Any]:
    return {kind: {name: _estimate(value) for name, value in rows.items()} for kind, rows in found.items()}
