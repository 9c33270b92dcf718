"""A model's benchmark is stored once, and each run shows those of its own models."""

import dataclasses
import json
from pathlib import Path

import duckdb

from figa_core.harness.results import BenchmarkResult, read_result
from figa_core.storage import migrations
from figa_core.storage.benchmarks import (
    Benchmark,
    benchmarks_of,
    read_benchmarks,
    save_benchmark,
    show_in_run,
    stored_benchmarks,
)
from figa_core.storage.database import Database
from tests.figa_core.harness.lm_eval_program import lm_eval_results
from tests.figa_core.storage.empty import empty_database  # noqa: F401 - a fixture

SETTINGS = {"chat_template": True, "limit": 4}


def benchmark(key: str, task: str = "own_choice", model: str = "f") -> Benchmark:
    return Benchmark(key, model, "0.4.13", task, "vllm", SETTINGS)


def result(key: str, task: str = "own_choice", values: tuple[float, ...] = (1.0, 0.0)) -> BenchmarkResult:
    text = json.dumps({**lm_eval_results(task, values), "key": key})
    return read_result(text, key=key, source=key)


def test_a_benchmark_comes_back_as_it_was_saved(database: Database) -> None:
    found = result("k")
    none = dataclasses.replace(
        found.scores[0],
        metric="other",
        standard_error=None,
        higher_is_better=None,
        questions=(),
        values=(),
    )
    part = dataclasses.replace(none, task="part", is_part=True)
    saved = dataclasses.replace(found, scores=(part, none, *found.scores))
    save_benchmark(database, benchmark("k"), saved)
    show_in_run(database, "run", "FIGA", ["k"])
    [shown] = benchmarks_of(database, "run")
    assert (shown.label, shown.benchmark, shown.seconds) == ("FIGA", benchmark("k"), 2.5)
    assert shown.versions == found.versions
    assert shown.scores == (none, *found.scores), "in lm-eval's order, without parts"


def test_the_first_result_stays(database: Database) -> None:
    save_benchmark(database, benchmark("k"), result("k"))
    save_benchmark(database, benchmark("k"), result("k", values=(0.0, 0.0)))
    show_in_run(database, "run", "FIGA", ["k"])
    assert benchmarks_of(database, "run")[0].scores[0].value == 0.5
    assert stored_benchmarks(database, ["k", "another"]) == {"k"}
    assert stored_benchmarks(database, []) == set()


def test_a_run_shows_the_benchmarks_of_its_own_models_in_the_order_of_its_tasks(database: Database) -> None:
    for key, task in (("a", "one"), ("b", "two"), ("c", "one")):
        save_benchmark(database, benchmark(key, task), result(key, task))
    show_in_run(database, "run", "base", ["b", "a"])
    show_in_run(database, "run", "FIGA", ["a", "c"])
    show_in_run(database, "another", "base", ["a"])
    show_in_run(database, "run", "FIGA", ["c"])  # another model under this name
    shown = [(each.label, each.benchmark.benchmark_id) for each in benchmarks_of(database, "run")]
    assert shown == [("FIGA", "c"), ("base", "b"), ("base", "a")]
    show_in_run(database, "run", "FIGA", [])
    assert [each.label for each in benchmarks_of(database, "run")] == ["base", "base"]


def test_stored_benchmarks_are_read_by_id_under_any_name(database: Database) -> None:
    for key in ("a", "b"):
        save_benchmark(database, benchmark(key), result(key))
    found = read_benchmarks(database, [("DPO", "b"), ("SFT", "gone"), ("base", "a"), ("same", "a")])
    assert [(each.label, each.benchmark.benchmark_id) for each in found] == [
        ("DPO", "b"),
        ("base", "a"),
        ("same", "a"),
    ]
    assert all(each.scores == result(each.benchmark.benchmark_id).scores for each in found)


def test_a_workspace_from_before_there_were_benchmarks_opens(tmp_path: Path) -> None:
    path = tmp_path / "figa.duckdb"
    before = [name for name, _ in migrations.MIGRATIONS].index("benchmarks")
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE migrations (number INTEGER, name TEXT, applied_at TIMESTAMPTZ)")
        for number, (name, script) in enumerate(migrations.MIGRATIONS[:before], start=1):
            connection.execute(script)
            connection.execute("INSERT INTO migrations VALUES (?, ?, now())", [number, name])
    database = Database(path)
    database.create()
    save_benchmark(database, benchmark("k"), result("k"))
    assert stored_benchmarks(database, ["k"]) == {"k"}
