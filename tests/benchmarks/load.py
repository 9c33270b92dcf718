"""Load: 100 000 prompts through the flow build-dataset on a real Prefect server, with stub engines.

    python -m tests.benchmarks.load [--rows N] [--repeats N]

Generation and scoring cost next to nothing, the reviser is the sandbox's teacher on this machine without a
limit or latency: what is measured is the pipeline itself. The same stages called as plain functions, without
Prefect, are run beside it: with all rows once, with a tenth of them several times in alternation.

Prints two tables and writes ``build/bench/load.json``:

* ``rows_per_second``: prompts over the flow's wall time, from an empty workspace to its shards;
* ``task_runs``: those that the server holds of that flow run;
* ``orchestration_share``: of the wall time, the larger of two figures: what the flow spent outside of its
  tasks' own functions, and how much longer it took than the plain functions. The first sees all that is
  waited for, but not that Prefect's threads and its server take CPU from the stages; the second sees that
  too, and whatever else the machine does: where it is less than the repeats lie apart (``noise_share``), it
  is left out;
* ``client_rss_growth_mb``: by how much the client's peak with all rows is above that with a tenth of them
  (median of the repeats). What is loaded once, whatever the number of rows, is in both.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from figa_core.sandbox.teacher_process import TeacherProcess
from flows.server.process import PrefectServer
from tests.benchmarks.figures import BENCH, save
from tests.benchmarks.load_side import Place, Run, run_client
from tests.benchmarks.load_stubs import models, write_prompts
from tests.benchmarks.load_table import Findings, line, memory_table, share_lines, stage_table

ROWS = 100_000
REPEATS = 3
TENTH = 10


def measure(place: Place, rows: int, repeats: int) -> Findings:
    """With Prefect and without in alternation: a tenth of the rows several times, then all of them."""

    def run(count: int, *, prefect: bool) -> Run:
        done = run_client(place, count, prefect=prefect)
        print(line(done, count, prefect=prefect), file=sys.stderr, flush=True)
        return done

    pairs = [[run(rows // TENTH, prefect=prefect) for prefect in (True, False)] for _ in range(repeats)]
    tenth, tenth_plain = zip(*pairs, strict=True)
    whole, whole_plain = (run(rows, prefect=prefect) for prefect in (True, False))
    return Findings(rows, whole, whole_plain, tenth, tenth_plain)


@contextmanager
def place_in(directory: Path, rows: int) -> Iterator[Place]:
    """Prompts, models, a Prefect server and a teacher that are there as long as it lasts."""
    prompts = directory / "prompts.jsonl"
    write_prompts(prompts, rows)
    sandbox = models(BENCH / "sandbox")
    with (
        PrefectServer(directory / "prefect") as server,
        TeacherProcess(requests_per_minute=6_000_000, tokens_per_minute=6_000_000_000) as teacher,
    ):
        server.wait()
        yield Place(directory, prompts, sandbox.base_model, sandbox.reward_model, server, teacher)


def main() -> None:
    """Run, print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.load", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of a tenth of the rows")
    parser.add_argument("--quick", action="store_true", help="a smoke run on few rows; no figures")
    arguments = parser.parse_args()
    rows, repeats = (1000, 1) if arguments.quick else (arguments.rows, arguments.repeats)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the client would outlive it
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="figa-bench-") as scratch, place_in(Path(scratch), rows) as place:
        found = measure(place, rows, repeats)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(stage_table(found), *share_lines(found), memory_table(found), sep="\n", highlight=False)
    console.print(f"{time.perf_counter() - begun:.0f} s in all")
    save("load-quick" if arguments.quick else "load", found.figures())


if __name__ == "__main__":
    main()
