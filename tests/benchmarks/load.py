"""Load: 100 000 prompts through the flow build-dataset on a real Prefect server, with stub engines.

    python -m tests.benchmarks.load [--rows N] [--repeats N]

Generation and scoring cost almost nothing, and the reviser is the sandbox's teacher on this machine without a
limit or latency, so this measures the pipeline itself. For comparison the same stages run as plain functions
without Prefect: once with all rows, and with a tenth of them several times in alternation.

Prints two tables and writes ``build/bench/load.json``:

* ``rows_per_second``: prompts over the flow's wall time, from an empty workspace to its shards;
* ``task_runs``: the task runs of that flow run on the server;
* ``orchestration_share``: of the wall time, the larger of two figures: the time that the flow spent outside
  its tasks' functions, and the extra time that it took over the plain functions. The first includes all
  waiting, but not the CPU that Prefect's threads and server take from the stages. The second includes that,
  and also whatever else the machine does, so it is ignored if the repeats differ by more (``noise_share``);
* ``client_rss_growth_mb``: the client's peak with all rows less its peak with a tenth of them (median of the
  repeats). Anything loaded once, whatever the number of rows, is in both.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figa_core.sandbox.teacher_process import TeacherProcess
from flows.server.process import PrefectServer
from tests.benchmarks.figures import BENCH, log, save, show
from tests.benchmarks.load_side import Place, Run, run_client
from tests.benchmarks.load_stubs import models, write_prompts
from tests.benchmarks.load_table import Findings, line, memory_table, share_lines, stage_table

ROWS = 100_000
REPEATS = 3
TENTH = 10


def measure(place: Place, rows: int, repeats: int) -> Findings:
    """With and without Prefect in alternation: a tenth of the rows several times, then all of them."""

    def run(count: int, *, prefect: bool) -> Run:
        done = run_client(place, count, prefect=prefect)
        log(line(done, count, prefect=prefect))
        return done

    pairs = [[run(rows // TENTH, prefect=prefect) for prefect in (True, False)] for _ in range(repeats)]
    tenth, tenth_plain = zip(*pairs, strict=True)
    whole, whole_plain = (run(rows, prefect=prefect) for prefect in (True, False))
    return Findings(rows, whole, whole_plain, tenth, tenth_plain)


@contextmanager
def place_in(directory: Path, rows: int) -> Iterator[Place]:
    """Prompts, models, and a Prefect server and a teacher that run within this context."""
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
    parser.add_argument("--quick", action="store_true", help="a smoke run on few rows; no real figures")
    arguments = parser.parse_args()
    rows, repeats = (1000, 1) if arguments.quick else (arguments.rows, arguments.repeats)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the client would outlive this process
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="figa-bench-") as scratch, place_in(Path(scratch), rows) as place:
        found = measure(place, rows, repeats)
    total = f"{time.perf_counter() - begun:.0f} s in total"
    show(stage_table(found), *share_lines(found), memory_table(found), total)
    save("load-quick" if arguments.quick else "load", found.figures())


if __name__ == "__main__":
    main()
