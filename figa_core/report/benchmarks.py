"""The table of benchmarks: each model's score beside the base's, with the difference, and for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from figa_core.evaluation.statistics import Estimate
from figa_core.harness.comparison import ScoreDifference, score_difference
from figa_core.harness.results import BenchmarkScore

_FEW = 100
_SHARES = ("acc", "match", "f1", "rate", "pct", "mc")


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """One figure of one task: the base's score and the other models', by label; None where there is none."""

    task: str
    metric: str
    base: BenchmarkScore | None
    models: Mapping[str, BenchmarkScore | None]

    @property
    def scale(self) -> float:
        """Shares are shown as points of 100; other figures (a log-likelihood) as they are."""
        shown = [score for score in (self.base, *self.models.values()) if score is not None]
        return 100.0 if all(map(_is_share, shown)) else 1.0

    @property
    def decimals(self) -> int:
        return 1 if self.scale > 1 else 3

    @property
    def any_score(self) -> BenchmarkScore:
        """For what all of them have in common."""
        return next(score for score in (self.base, *self.models.values()) if score is not None)

    @property
    def lower_is_better(self) -> bool:
        return self.any_score.higher_is_better is False

    def shown(self, score: BenchmarkScore) -> Estimate:
        """Value and lm-eval's standard error in the unit in which they are shown."""
        return Estimate(score.value, score.standard_error, score.n).scaled(self.scale)

    def change(self, label: str) -> ScoreDifference | None:
        """The model's difference to the base, in the unit in which it is shown."""
        score = self.models[label]
        if self.base is None or score is None:
            return None
        found = score_difference(self.base, score)
        return ScoreDifference(found.change.scaled(self.scale), found.paired)


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """What a run's report shows of lm-eval.

    Attributes:
        rows: in the order of the run's tasks.
        labels: the models beside the base.
        release: lm-eval's; empty without rows.
        how: what else decided the scores, in words.
        missing: tasks of the settings that a model has no result of, by label.
    """

    rows: tuple[BenchmarkRow, ...] = ()
    labels: tuple[str, ...] = ()
    release: str = ""
    how: tuple[str, ...] = ()
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def notes(self) -> Iterator[str]:
        """What a reader must know to take the scores for what they are."""
        cut = {row.task: row.any_score for row in self.rows if row.any_score.n < row.any_score.available}
        if cut:
            asked = ", ".join(f"{s.n:,} of {s.available:,} of {task}" for task, s in cut.items())
            yield (
                f"Only some of the questions were asked, the first ones: {asked}. Such scores are not those "
                "of the benchmark."
            )
        few = sorted({row.task for row in self.rows if row.any_score.n < _FEW})
        if few:
            yield (
                f"Fewer than {_FEW} questions: {', '.join(few)}. Such scores tell models apart only if they "
                "are far apart."
            )
        unpaired = {
            row.task
            for row in self.rows
            for label in self.labels
            if (found := row.change(label)) is not None and not found.paired
        }
        if unpaired:
            yield (
                f"Differences with * (in {', '.join(sorted(unpaired))}) are not paired: their scores are no "
                "means over the same questions, and their intervals are too wide where both models err alike."
            )
        for label, tasks in self.missing.items():
            yield (
                f"{label} has no result of {', '.join(tasks)}: the run's last lines say why, and the same "
                "command asks for it again."
            )


def _is_share(score: BenchmarkScore) -> bool:
    """By the value of each question; without these, the metric must be called like one."""
    named = any(word in score.metric for word in _SHARES)
    return (bool(score.values) or named) and all(0 <= value <= 1 for value in (score.value, *score.values))


def benchmarks_json(found: Benchmarks) -> list[dict[str, Any]]:
    """For programs, in lm-eval's units; None where unknown. The base is the model "base"."""
    return [
        {
            "task": row.task,
            "metric": row.metric,
            "model": label,
            "score": score.value,
            "standard_error": score.standard_error,
            "questions": score.n,
            "of": score.available,
            "higher_is_better": score.higher_is_better,
            "lm_eval": found.release,
            **(_against(row, label) if label in row.models else {}),
        }
        for row in found.rows
        for label, score in (("base", row.base), *row.models.items())
        if score is not None
    ]


def _against(row: BenchmarkRow, label: str) -> dict[str, Any]:
    score = row.models[label]
    if row.base is None or score is None:
        return {}
    change = score_difference(row.base, score)
    interval = change.change.interval
    return {
        "against_base": change.change.mean,
        "interval_95": interval and list(interval),
        "paired": change.paired,
    }


def benchmark_rows(
    scores: Mapping[str, Sequence[BenchmarkScore]], base: str
) -> tuple[tuple[BenchmarkRow, ...], tuple[str, ...]]:
    """Rows in the order of the scores, and the labels of the models beside the base."""
    labels = tuple(label for label in scores if label != base)
    keyed = {label: {(s.task, s.metric, s.filter): s for s in each} for label, each in scores.items()}
    keys = list(dict.fromkeys(key for label in (base, *labels) for key in keyed.get(label, ())))
    several = {key[:2] for key in keys if sum(key[:2] == other[:2] for other in keys) > 1}
    rows = tuple(
        BenchmarkRow(
            task=key[0],
            metric=f"{key[1]} ({key[2]})" if key[:2] in several else key[1],
            base=keyed.get(base, {}).get(key),
            models={label: keyed[label].get(key) for label in labels},
        )
        for key in keys
    )
    return rows, labels
