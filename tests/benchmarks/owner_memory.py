"""The memory of the process that owns a run's database, while rows are imported, drawn and scored.

    python -m tests.benchmarks.owner_memory [--quick]

The stages are those of a run, with the load benchmark's stub engines, once with few prompts and once with
twenty times as many. Prints a table and writes into ``build/bench/inference.json`` the most resident memory
from the start to the end of each stage, in MB (1e6 bytes), as ``owner_STAGE_mb_ROWS``, and how much more
generating and scoring take with the many rows (``owner_growth_mb``).
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from figa_core.sandbox.build import Sandbox
from tests.benchmarks.child import start, wait_for
from tests.benchmarks.figures import add, log, show
from tests.benchmarks.load_spec import Outcome, Spec
from tests.benchmarks.load_stubs import models, write_prompts
from tests.benchmarks.sampling import Sampler

_ROWS, _QUICK_ROWS = (10_000, 200_000), (100, 400)
_LAST = "score references"
_INFERENCE = ("generate", "score responses", "score references")
_TIME_LIMIT_S = 3600.0
_EVERY_S = 0.05  # between two samples: a stage of few rows is short


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.owner_memory")
    parser.add_argument("--quick", action="store_true", help="few rows: whether it runs at all")
    quick = parser.parse_args().quick
    few, many = _QUICK_ROWS if quick else _ROWS
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        sandbox, prompts = models(directory / "models"), directory / "prompts.jsonl"
        write_prompts(prompts, many)
        found = {rows: peaks(sandbox, prompts, directory / str(rows), rows) for rows in (few, many)}
    table = Table("stage", f"{few:,} prompts, MB", f"{many:,} prompts, MB", title="memory of a run's owner")
    for stage in found[few]:
        table.add_row(stage, *(f"{found[rows][stage]:.0f}" for rows in (few, many)))
    growth = max(found[many][stage] - found[few][stage] for stage in _INFERENCE)
    show(table, f"generating and scoring: at most {growth:.0f} MB more")
    figures = {"owner_growth_mb": growth}
    for rows, stages in found.items():
        figures |= {f"owner_{stage.replace(' ', '_')}_mb_{rows}": mb for stage, mb in stages.items()}
    add("inference-quick" if quick else "inference", figures)
    return 0


def peaks(sandbox: Sandbox, prompts: Path, directory: Path, rows: int) -> Mapping[str, float]:
    """The most resident MB up to the end of each stage of a run.

    Raises:
        RuntimeError: it failed; the message has the end of its log.
    """
    directory.mkdir()
    spec = Spec(
        rows=rows,
        prompts=str(prompts),
        workspace=str(directory / "workspace"),
        base=str(sandbox.base_model),
        reward=str(sandbox.reward_model),
        base_url="http://127.0.0.1:9",  # nothing is revised
        prefect=False,
        until=_LAST,
    )
    asked, answered = directory / "spec", directory / "outcome"
    spec.save(asked)
    client = start("load_client", (asked, answered), directory / "log")
    with Sampler(_EVERY_S, client=client.pid) as samples:
        wait_for(client, "the client", _TIME_LIMIT_S)
    stages = Outcome.load(answered).stages
    log(f"{rows:,} prompts: " + ", ".join(f"{stage.name} {stage.seconds:.0f} s" for stage in stages))
    return {stage.name: samples.peak_rss_mb("client", ended=stage.ended) for stage in stages}


if __name__ == "__main__":
    sys.exit(main())
