"""What lm-eval found, read from a file that may be damaged.

A file has the fields of `FIELDS` from lm-eval's own results (`lm_eval.result_schema`), with the samples
reduced to what identifies a question and to the numbers that it was given; and the key and the name of the
task, the seconds that it took, and the versions of the libraries.

A name may be a group or a tag of tasks. What is shown of a group is its aggregate, if it defines one, and
otherwise each of its tasks.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from figa_core.errors import EvaluationError

FIELDS = ("results", "groups", "group_subtasks", "versions", "higher_is_better", "n-samples", "samples")
_HASH_LENGTH = 12
_CLOSE = 1e-6  # lm-eval's means are sums in another order, at most in float32


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """One figure of a task.

    Attributes:
        task, metric, filter: their names in lm-eval; a filter is how the answer was taken from the text.
        value: in lm-eval's unit, usually a share from 0 to 1.
        standard_error: lm-eval's; None if it gives none.
        n: the questions asked, of `available`.
        higher_is_better: None if the task does not say.
        is_part: whether it is within the aggregate of a group.
        questions, values: each question with its own value, if the score is their mean; else empty. Those of
            parts are left out.
    """

    task: str
    metric: str
    filter: str
    value: float
    standard_error: float | None
    n: int
    available: int
    higher_is_better: bool | None
    is_part: bool = False
    questions: tuple[str, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """The scores of one name; `without` are those that are no finite number."""

    key: str
    task: str
    seconds: float
    versions: Mapping[str, str]
    scores: tuple[BenchmarkScore, ...]
    without: tuple[str, ...] = ()


def read_result(text: str | bytes, *, key: str, source: str) -> BenchmarkResult:
    """The result in a file that should have this key.

    Raises:
        EvaluationError: it is damaged, of another task, or without any score.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or found["key"] != key:
            raise ValueError("it is the result of another task")
        scores, without = _scores(found["results"])
        if not scores:
            raise ValueError("no score in it is a finite number" if without else "it has no score")
        versions = {str(name): str(version) for name, version in found["versions"].items()}
        return BenchmarkResult(key, str(found["task"]), float(found["seconds"]), versions, scores, without)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise EvaluationError(
            f"{source}: not a whole result of lm-eval: {what}. It is not used, and the next run asks again."
        ) from error


def _scores(found: Mapping[str, Any]) -> tuple[tuple[BenchmarkScore, ...], tuple[str, ...]]:
    aggregates, members = set(found.get("groups") or ()), _leaves(found.get("group_subtasks") or {})
    parts = {leaf for group in aggregates for leaf in members[group]}
    parts |= {group for group in aggregates if any(_is_within(found, group, other) for other in aggregates)}
    scores, without = [], []
    for task, metrics in found["results"].items():
        for metric, filtered, value in _metrics(metrics):
            if not math.isfinite(value):
                without.append(f"{task}: {metric}")
                continue
            leaves = members[task] if task in aggregates else (task,)
            score = BenchmarkScore(
                task,
                metric,
                filtered,
                value,
                _error(metrics.get(f"{metric}_stderr,{filtered}")),
                n=_count(found, leaves, "effective"),
                available=_count(found, leaves, "original"),
                higher_is_better=_better(found, task, metric),
                is_part=task in parts,
            )
            scores.append(score if score.is_part else _with_values(score, found, leaves))
    return tuple(scores), tuple(without)


def _metrics(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Metric, filter and value, from keys such as "acc,none"."""
    for name, value in metrics.items():
        metric, comma, filtered = name.partition(",")
        if comma and not metric.endswith("_stderr") and _is_number(value):
            yield metric, filtered, float(value)


def _with_values(score: BenchmarkScore, found: Mapping[str, Any], leaves: tuple[str, ...]) -> BenchmarkScore:
    """With the value of each question, if the score is their mean."""
    values: dict[str, float] = {}
    for leaf in leaves:
        for sample in (found.get("samples") or {}).get(leaf, ()):
            value = sample["values"].get(score.metric)
            if sample["filter"] != score.filter or not _is_number(value) or not math.isfinite(value):
                continue
            prefix = f"{leaf}:" if len(leaves) > 1 else ""
            values[f"{prefix}{sample['doc_id']}:{sample['doc_hash'][:_HASH_LENGTH]}"] = float(value)
    if len(values) != score.n or not values:
        return score
    mean = math.fsum(values.values()) / len(values)
    if not math.isclose(mean, score.value, rel_tol=_CLOSE, abs_tol=_CLOSE):
        return score
    return BenchmarkScore(
        score.task,
        score.metric,
        score.filter,
        score.value,
        score.standard_error,
        score.n,
        score.available,
        score.higher_is_better,
        questions=tuple(values),
        values=tuple(values.values()),
    )


def _leaves(subtasks: Mapping[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
    """Group → the tasks in it and in the groups within it."""
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)

    def below(name: str, seen: frozenset[str]) -> Iterator[str]:
        if name in seen:
            raise ValueError(f"the group {name} is within itself")
        if not subtasks.get(name):
            yield name
            return
        for child in subtasks[name]:
            yield from below(child, seen | {name})

    for group in subtasks:
        found[group] = tuple(dict.fromkeys(below(group, frozenset())))
    return found


def _is_within(found: Mapping[str, Any], name: str, group: str) -> bool:
    children = (found.get("group_subtasks") or {}).get(group, ())
    return name in children or any(_is_within(found, name, child) for child in children)


def _count(found: Mapping[str, Any], leaves: tuple[str, ...], which: str) -> int:
    return sum(int(found["n-samples"][leaf][which]) for leaf in leaves)


def _better(found: Mapping[str, Any], task: str, metric: str) -> bool | None:
    said = (found.get("higher_is_better") or {}).get(task, {}).get(metric)
    return None if said is None else bool(said)


def _error(value: Any) -> float | None:
    """None for "N/A", and for what is no finite number."""
    return float(value) if _is_number(value) and math.isfinite(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))
