"""Benchmarks: what lm-eval found for a model, once for all runs, and which of it a run shows."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from figa_core.harness.results import BenchmarkResult, BenchmarkScore
from figa_core.storage.database import Database, insert_rows


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A model that was asked a task: by its fingerprint, with lm-eval's release and the other settings."""

    benchmark_id: str
    model: str
    harness: str
    task: str
    engine: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunBenchmark:
    """A benchmark under a model's name in a report, with its scores in lm-eval's order, without parts."""

    label: str
    benchmark: Benchmark
    versions: Mapping[str, str]
    seconds: float
    scores: tuple[BenchmarkScore, ...]


def save_benchmark(database: Database, benchmark: Benchmark, result: BenchmarkResult) -> None:
    """Save a result with all its scores; one that is there stays as it is."""
    key = benchmark.benchmark_id
    row = {
        **asdict(benchmark),
        "settings": json.dumps(dict(benchmark.settings), sort_keys=True),
        "versions": json.dumps(dict(result.versions), sort_keys=True),
        "seconds": result.seconds,
    }
    scores = [{"benchmark_id": key, "place": i, **asdict(s)} for i, s in enumerate(result.scores)]
    with database.transaction() as connection:
        if insert_rows(connection, "benchmarks", [row]):
            insert_rows(connection, "benchmark_scores", scores)


def stored_benchmarks(database: Database, keys: Collection[str]) -> set[str]:
    """Those of these ids that have a result."""
    query = "SELECT benchmark_id FROM benchmarks WHERE benchmark_id IN (SELECT unnest($keys::TEXT[]))"
    return {key for (key,) in database.fetch(query, keys=list(keys))}


def show_in_run(database: Database, run_id: str, label: str, keys: Sequence[str]) -> None:
    """Let a run show these benchmarks, in this order, under a model's name, and no others."""
    rows = [{"run_id": run_id, "label": label, "benchmark_id": key, "place": i} for i, key in enumerate(keys)]
    with database.transaction() as connection:
        connection.execute("DELETE FROM run_benchmarks WHERE run_id = ? AND label = ?", [run_id, label])
        insert_rows(connection, "run_benchmarks", rows)


def benchmarks_of(database: Database, run_id: str) -> list[RunBenchmark]:
    """The benchmarks that a run shows, in the order of its tasks."""
    rows = database.fetch(
        "SELECT label, benchmark_id FROM run_benchmarks WHERE run_id = $run ORDER BY place, label",
        run=run_id,
    )
    return read_benchmarks(database, rows)


def read_benchmarks(database: Database, named: Iterable[tuple[str, str]]) -> list[RunBenchmark]:
    """Stored benchmarks, by a model's label and id, in this order; ids without a result are left out."""
    found = []
    for label, key in named:
        rows = database.fetch(
            "SELECT model, harness, task, engine, settings, versions, seconds FROM benchmarks "
            "WHERE benchmark_id = $key",
            key=key,
        )
        for model, harness, task, engine, settings, versions, seconds in rows:
            benchmark = Benchmark(key, model, harness, task, engine, json.loads(settings))
            scores = tuple(map(_score, _scores(database, key)))
            found.append(RunBenchmark(label, benchmark, json.loads(versions), seconds, scores))
    return found


def _scores(database: Database, key: str) -> list[dict[str, Any]]:
    return database.records(
        dict,
        """SELECT task, metric, filter, value, standard_error, n, available, higher_is_better, is_part,
                  questions, "values"
           FROM benchmark_scores WHERE benchmark_id = $key AND NOT is_part ORDER BY place""",
        key=key,
    )


def _score(row: dict[str, Any]) -> BenchmarkScore:
    return BenchmarkScore(**{**row, "questions": tuple(row["questions"]), "values": tuple(row["values"])})
