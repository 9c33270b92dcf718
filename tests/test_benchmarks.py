"""The benchmarks run, on a hundredth of their rows; their figures are meaningless then."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parent.parent
WRITES_INTO = {"bare_engine": "inference", "owner_memory": "inference"}


@pytest.mark.parametrize(
    ("name", "unit", "figure"),
    [
        ("weighing", "pairs", "weigh_share_of_bare"),
        ("training", "pairs", "ratio_vs_reference_2k_p50"),
        ("prefix_gain", "pairs/s", "prefix_gain_50"),
        ("recomputing", "GB of activations", "memory_ratio"),
        ("memory", "plan / peak", "largest_difference"),
        ("loading", "GB of anonymous memory", "loading_ratio"),
        ("lora", "pairs/s", "lora_gain"),
        ("attention", "tokens", "loop_over_pieces_512_float32_ms"),
        ("revision", "rows/s", "rate_share"),
        ("load", "prompts/s", "rows_per_second"),
        ("inference", "rows/s", "two_servers_ratio"),
        ("bare_engine", "rows/s", "share_of_bare_sandbox"),
        ("owner_memory", "MB", "owner_generate_mb_400"),
        ("annotation", "ms for a pair", "levenshtein_150_HTTP_p95_ms"),
    ],
)
def test_a_benchmark_prints_its_table_and_writes_its_figures(name: str, unit: str, figure: str) -> None:
    path = ROOT / "build" / "bench" / f"{WRITES_INTO.get(name, name)}-quick.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert unit in done.stdout
    figures = json.loads(path.read_text())
    assert figures[figure] > 0
    assert all(isinstance(value, int | float) for value in figures.values())
