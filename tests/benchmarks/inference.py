"""Inference by servers: two against one, what a killed one costs, and a real one against the local engine.

    python -m tests.benchmarks.inference [--quick] [--stubs]

The first two use stub servers of fixed latency and capacity (`stub_server.py`), in processes of their own, so
that they measure how the work is spread and not how fast a model is. The last one needs vLLM, the model of
`make real` (a tiny one does less work than HTTP) and a quiet machine; `--stubs` leaves it out.

Prints a table, and what it leaves out, and writes its figures into ``build/bench/inference.json``, as
`bare_engine` and `owner_memory` do.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from figa_core.inference.engine import Generating, open_engine
from figa_core.inference.servers import Servers
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.ports import GenerationRequest
from figa_core.processes.child import Child
from tests.benchmarks.figures import Spread, add, log, show, spread
from tests.benchmarks.models import QUICK_SHAPE, save_random_model
from tests.benchmarks.stub_server import STOP

_VOCABULARY = 1000
_START_S = 120.0
_REAL = Path("build/real/smollm2-135m-instruct")  # `make real` makes it


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; a stub does `capacity` requests in `latency_s`."""

    rows: int
    repeats: int
    latency_s: float
    capacity: int
    real_rows: int


_FULL = Size(rows=1280, repeats=3, latency_s=0.5, capacity=16, real_rows=300)
_QUICK = Size(rows=64, repeats=1, latency_s=0.05, capacity=4, real_rows=32)


@dataclass(frozen=True, slots=True)
class Stubs:
    """Stub servers that run; `drawn`: the seeds that each has worked on."""

    processes: Sequence[Child]
    urls: tuple[str, ...]
    files: Sequence[Path]

    def drawn(self) -> Counter[int]:
        return Counter(int(line) for file in self.files for line in file.read_text().split())


@contextmanager
def stubs(size: Size, count: int) -> Iterator[Stubs]:
    with tempfile.TemporaryDirectory() as made, ExitStack() as ends:
        processes, ports, files = [], [], []
        for number in range(count):
            port, drawn = Path(made, f"port-{number}"), Path(made, f"drawn-{number}")
            command = [sys.executable, "-m", "tests.benchmarks.stub_server", str(port), str(drawn)]
            process = Child([*command, str(size.latency_s), str(size.capacity)], Path(made, f"log-{number}"))
            ends.callback(process.kill)
            if not process.wait_until(port.exists, timeout_s=_START_S):
                raise RuntimeError(process.log_tail())
            processes.append(process)
            ports.append(port.read_text())
            files.append(drawn)
        yield Stubs(processes, tuple(f"http://127.0.0.1:{port}" for port in ports), files)


def _requests(count: int) -> list[GenerationRequest]:
    return [GenerationRequest(f"row-{n}", (3 + n % 900, 5, 7), n) for n in range(count)]


def _settings(model: Path, urls: tuple[str, ...]) -> Generating:
    return Generating(
        model, (STOP,), max_tokens=16, max_prompt_tokens=64, rows_per_shard=100, servers=Servers(urls)
    )


def _rows_per_second(model: Path, size: Size, count: int) -> float:
    with stubs(size, count) as running, open_engine("server") as engine:
        generator = engine.generator(_settings(model, running.urls), model)
        begun = time.perf_counter()
        found = sum(map(len, generator.generate(_requests(size.rows))))
        seconds = time.perf_counter() - begun
    if found != size.rows:
        raise RuntimeError(f"{found} results of {size.rows} rows")
    return size.rows / seconds


@dataclass(frozen=True, slots=True)
class Killed:
    """What a server that is killed in the middle costs; of rows."""

    lost: int
    twice: int
    in_flight: int


def _kill_one(model: Path, size: Size) -> Killed:
    with stubs(size, 2) as running, open_engine("server") as engine:
        generator = engine.generator(_settings(model, running.urls), model)
        ids: set[str] = set()
        for batch in generator.generate(_requests(size.rows)):
            ids |= {getattr(row, "request_id", "") for row in batch} - {""}
            if len(ids) > size.rows // 3 and running.processes[0].exit_code is None:
                running.processes[0].kill()
        twice = sum(count - 1 for count in running.drawn().values() if count > 1)
    return Killed(lost=size.rows - len(ids), twice=twice, in_flight=2 * size.capacity)


def _served_share(model: Path, size: Size, scratch: Path) -> Spread:
    """Rows per second by a real server, over those of the local engine, in turns, both after their start."""
    settings = replace(
        _settings(model, ()), servers=None, max_tokens=64, rows_per_shard=500, gpu_memory_share=0.2
    )
    there = replace(settings, servers=Servers((), managed=True))
    shares: list[float] = []
    with open_engine("vllm") as engine, open_engine("server") as server:
        local = engine.generator(settings, scratch / "local").generate
        served = server.generator(there, scratch / "server").generate
        for generate in (local, served):
            list(generate(_requests(16)))  # the start
        for repeat in range(size.repeats):
            found = [_drawn_per_second(generate, size.real_rows) for generate in (local, served)]
            shares.append(found[1] / found[0])
            log(f"repeat {repeat + 1}: the local engine {found[0]:.2f} rows/s, a real server {found[1]:.2f}")
    return spread(shares)


def _drawn_per_second(generate: Callable[[list[GenerationRequest]], Iterator[object]], rows: int) -> float:
    begun = time.perf_counter()
    list(generate(_requests(rows)))
    return rows / (time.perf_counter() - begun)


def _without_vllm(model: Path) -> str:
    """Why vLLM cannot serve the model here; empty if it can."""
    if find_vllm_python() is None:
        return "no environment has vLLM (`make setup` makes one)"
    return "" if model.is_dir() else f"{model} is not there (`make real` makes it)"


def main() -> int:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.inference")
    parser.add_argument("--quick", action="store_true", help="few rows: whether it runs at all")
    parser.add_argument("--stubs", action="store_true", help="without a real server")
    arguments = parser.parse_args()
    size = _QUICK if arguments.quick else _FULL
    figures: dict[str, float] = {}
    table = Table("what", "figure", title="Servers")
    with tempfile.TemporaryDirectory() as made:
        model = Path(made, "model")
        save_random_model(model, QUICK_SHAPE, _VOCABULARY)
        speeds: dict[int, list[float]] = {1: [], 2: []}
        for repeat in range(size.repeats):
            for count, found in speeds.items():
                found.append(_rows_per_second(model, size, count))
                log(f"repeat {repeat + 1}: {count} stub server(s), {found[-1]:.1f} rows/s")
        ratio = spread([two / one for one, two in zip(speeds[1], speeds[2], strict=True)])
        figures |= ratio.named("two_servers_ratio")
        table.add_row("two stub servers against one, rows/s", str(ratio))
        killed = _kill_one(model, size)
        figures |= {"rows_lost": killed.lost, "rows_twice": killed.twice, "in_flight_most": killed.in_flight}
        table.add_row("rows lost with a killed server, of two", str(killed.lost))
        table.add_row("rows drawn twice (at most in flight there)", f"{killed.twice} ({killed.in_flight})")
        real = model if arguments.quick else _REAL.absolute()
        if why := _without_vllm(real):
            log(f"left out: server_share_of_local, because {why}")
        elif not arguments.stubs:
            share = _served_share(real, size, Path(made, "scratch"))
            figures |= share.named("server_share_of_local")
            table.add_row("a real server against the local engine, rows/s", str(share))
    show(table)
    add("inference-quick" if arguments.quick else "inference", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
