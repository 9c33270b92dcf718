"""Revision: ours against bespokelabs-curator, distilabel and the bare openai client, on equal servers.

    python -m tests.benchmarks.revision [--quick]

* the share of a limit of 6 000 requests a minute that is sustained, and of a limit of tokens; the same with
  a client whose setting is twice the limit;
* rows a second and CPU per row without a limit, at 0.1 s latency;
* resident memory from 1 000 to 100 000 rows;
* all contenders at 3 000 requests a minute, and after a kill -9.

Every contender runs in its own process against its own local teacher, and its requests are read from the
teacher's log. Prints one table and writes ``build/bench/revision.json``.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.figures import log, save, show
from tests.benchmarks.other_work import OtherWork
from tests.benchmarks.revision_figures import count_429, count_repeated, rows_per_second, share_of_limit
from tests.benchmarks.revision_rows import write_rows
from tests.benchmarks.revision_side import Request, Server, Side, python_of
from tests.benchmarks.revision_spec import Kind, Outcome, Spec
from tests.benchmarks.revision_table import Findings, table

PERMITTED = 6000
PERMITTED_BESIDE = 3000
_WINDOWS = 2
_STUCK_S = 40.0
_OTHERS: tuple[Kind, ...] = ("curator", "distilabel")
_LEAN: tuple[Kind, ...] = ("ours", "bare", "bare_httpx")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows and seconds of a run; `memory` has the numbers of rows at which resident memory is compared."""

    rows: int
    window_s: float
    unlimited: int
    warm_up: int
    repeats: int
    memory: tuple[int, int]
    kill: tuple[int, int]

    @property
    def seconds(self) -> float:
        """The duration of a run with a limit."""
        return _WINDOWS * self.window_s


FULL = Sizes(16_000, 60.0, 2000, 500, 3, (1000, 100_000), (2000, 700))
QUICK = Sizes(600, 2.0, 200, 50, 1, (1000, 2000), (200, 70))


@dataclass(slots=True)
class Bench:
    """Sizes, the rows, and the contenders."""

    sizes: Sizes
    directory: Path
    kinds: tuple[Kind, ...]
    tokens: dict[str, int] = field(default_factory=dict)
    _sides: int = 0

    @property
    def rows(self) -> Path:
        """The file of rows."""
        return self.directory / "rows.jsonl"

    def side(self, kind: Kind, server: Server, count: int, limits: tuple[int, int] | None = None) -> Side:
        """A contender on a server; `limits` are its settings, by default the limits of the server."""
        self._sides += 1
        requests, tokens = limits or (server.requests_per_minute, server.tokens_per_minute)
        spec = Spec(
            kind=kind,
            base_url="",
            model="",
            rows=str(self.rows),
            count=count,
            directory=str(self.directory / f"{self._sides}-{kind}"),
            requests_per_minute=requests,
            tokens_per_minute=tokens,
            warm_up=self.sizes.warm_up if kind in _LEAN else 0,
        )
        return Side(spec, server, self.tokens)


def measure(bench: Bench) -> Findings:
    """Run all parts, one after the other."""
    bench.tokens |= write_rows(bench.rows, bench.sizes.rows)
    found = Findings(bench.kinds)
    measure_limits(bench, found)
    measure_beside(bench, found)
    measure_unlimited(bench, found)
    measure_kills(bench, found)
    measure_memory(bench, found)
    return found


def measure_limits(bench: Bench, found: Findings) -> None:
    """Three of ours at once, each on its own server: limited by requests, by tokens, and misconfigured."""
    sizes, mean = bench.sizes, sum(bench.tokens.values()) / len(bench.tokens)
    by_requests = Server(requests_per_minute=PERMITTED, window_s=sizes.window_s)
    by_tokens = Server(tokens_per_minute=round(PERMITTED * mean), window_s=sizes.window_s)
    requests, tokens, wrong = watched(
        bench,
        [
            bench.side("ours", by_requests, sizes.rows),
            bench.side("ours", by_tokens, sizes.rows),
            bench.side("ours", by_requests, sizes.rows, (2 * PERMITTED, by_requests.tokens_per_minute)),
        ],
    )
    found.rate_share = share_of_limit(requests, PERMITTED, sizes.seconds)
    found.tokens_share = share_of_limit(tokens, by_tokens.tokens_per_minute, sizes.seconds, bench.tokens)
    found.count_429 = count_429(requests, sizes.seconds) + count_429(tokens, sizes.seconds)
    found.rate_share_misconfigured = share_of_limit(wrong, PERMITTED, sizes.seconds)
    sent = sum(request.at_s < sizes.seconds for request in wrong)
    found.share_429_misconfigured = count_429(wrong, sizes.seconds) / sent


def measure_beside(bench: Bench, found: Findings) -> None:
    """All contenders at once, each on its own server with the same limit, which is in its settings."""
    server = Server(requests_per_minute=PERMITTED_BESIDE, window_s=bench.sizes.window_s)
    logs = watched(bench, [bench.side(kind, server, bench.sizes.rows) for kind in bench.kinds])
    for kind, requests in zip(bench.kinds, logs, strict=True):
        found.beside_share[kind] = share_of_limit(requests, PERMITTED_BESIDE, bench.sizes.seconds)
        found.beside_429[kind] = count_429(requests, bench.sizes.seconds)


def watched(bench: Bench, sides: Sequence[Side]) -> list[list[Request]]:
    """Run all sides at once for their time; return their logs."""
    with ExitStack() as stack:
        for side in sides:
            stack.enter_context(side)
        for side in sides:
            side.start()
        for side in sides:
            side.wait_until(lambda side=side: side.elapsed_s() > bench.sizes.seconds + 1)
            side.kill()
        logs = [side.requests() for side in sides]
    log(f"{', '.join(side.spec.kind for side in sides)}: watched for {bench.sizes.seconds:.0f} s")
    return logs


def measure_unlimited(bench: Bench, found: Findings) -> None:
    """Repeats in alternation, one contender at a time; the slow ones skip the first."""
    for repeat in range(bench.sizes.repeats):
        slow = bench.kinds[1:] if repeat or bench.sizes.repeats == 1 else ()
        for kind in (*_LEAN, *slow):
            outcome, rate, cores = run_unlimited(bench, kind)
            found.rates.setdefault(kind, []).append(rate)
            found.cpu_ms.setdefault(kind, []).append(outcome.cpu_ms_per_row)
            found.other_cores = max(found.other_cores, cores if kind in _LEAN else 0.0)
            log(f"{kind}: {rate:.0f} rows/s, {outcome.cpu_ms_per_row:.2f} ms a row, others {cores:.1f} cores")


def run_unlimited(bench: Bench, kind: Kind) -> tuple[Outcome, float, float]:
    """The outcome, rows a second, and the cores that other work used."""
    server, other_work = Server(), OtherWork()
    with bench.side(kind, server, bench.sizes.unlimited) as side:
        side.start()
        outcome = side.wait()
    return outcome, rows_per_second(side.requests(), server.latency_s), other_work.cores()


def measure_kills(bench: Bench, found: Findings) -> None:
    """kill -9 in the middle of a run, then the same command again."""
    count, killed_at = bench.sizes.kill
    for kind in bench.kinds:
        with bench.side(kind, Server(), count) as side:
            side.start()
            side.wait_until(lambda side=side: side.requests_seen() >= killed_at)
            side.kill()
            side.start()
            outcome = side.wait_unless_stuck(_STUCK_S)
            requests = side.requests()
        answered = len({request.sha for request in requests if request.answered})
        found.lost[kind] = count - (answered if outcome is None else outcome.answered)
        found.repeated[kind] = count_repeated(requests)
        end = "" if outcome else "; after the restart it hangs, and the rows it never asked for count as lost"
        log(f"{kind}, killed: {found.lost[kind]} rows lost, {found.repeated[kind]} calls repeated{end}")


def measure_memory(bench: Bench, found: Findings) -> None:
    """Ours, as fast as possible, on rows that are read from the file while it runs."""
    few, many = bench.sizes.memory
    with bench.side("ours", Server(latency_s=0.0), many) as side:
        side.start()
        outcome = side.wait()
    after = outcome.rss_mb[few // 1000 - 1 :]
    found.rss_mb_few, found.rss_mb_most = after[0], max(after)
    log(f"memory: {after[0]:.0f} MB after {few:,} rows, at most {max(after):.0f} MB up to {many:,}")


def _installed() -> Iterator[Kind]:
    yield "ours"
    for kind in _OTHERS:
        if python_of(kind).is_file():
            yield kind
        else:
            log(f"{kind}: left out, there is no .venv-{kind} (`make bench` installs it)")


def main() -> None:
    """Run, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.revision", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run on few rows; no real figures")
    quick = parser.parse_args().quick
    begun = time.perf_counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the contenders would outlive this process
    with tempfile.TemporaryDirectory(prefix="figa-bench-") as scratch:
        found = measure(Bench(QUICK if quick else FULL, Path(scratch), tuple(_installed())))
    seconds = time.perf_counter() - begun
    show(table(found), f"other work used at most {found.other_cores:.1f} cores; {seconds:.0f} s in total")
    save("revision-quick" if quick else "revision", found.figures())


if __name__ == "__main__":
    main()
