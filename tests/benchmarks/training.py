"""Training: ours against the reference recipe and TRL, on the same pairs, model and dtype.

    python -m tests.benchmarks.training [--quick] [--float32]

On a GPU a model of a billion parameters in bfloat16 (--float32: in float32).
Every contender runs in a process of its own. Prints one table and writes ``build/bench/training.json``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.bare_pairs import BarePair, write_steps
from tests.benchmarks.chatlike import ChatLike, draw_steps, write_step_shards
from tests.benchmarks.contenders import Run, full_runs, gpu_runs, quick_runs
from tests.benchmarks.figures import save
from tests.benchmarks.flops import matmul_peak
from tests.benchmarks.measure import Outcome
from tests.benchmarks.models import CPU_SHAPE, CUDA_SHAPE, QUICK_SHAPE, Shape, save_random_model
from tests.benchmarks.other_work import OtherWork
from tests.benchmarks.spec import WARM_UP, Spec
from tests.benchmarks.summary import Case, DataSet, Measured, Results, figures, table

_ROOT = Path(__file__).resolve().parents[2]
_LOOP_SEED = 0
_DISTURBED_CORES = 0.25
_ATTEMPTS = 2
_TRL_PYTHON = _ROOT / ".venv-bench" / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Bench:
    """Sizes of this run, and the data sets made so far. `tokens_per_batch` bounds our micro-batches."""

    shape: Shape
    bfloat16: bool
    pairs_per_step: int
    tokens_per_batch: int
    steps: int
    answer_median: float
    directory: Path
    made: dict[tuple[int, float], DataSet] = field(default_factory=dict)

    def data_set(self, vocabulary: int, edited: float) -> DataSet:
        """Model, shards and bare pairs, made once a run: the pairs cost little."""
        if (vocabulary, edited) not in self.made:
            self.made[vocabulary, edited] = self._make(vocabulary, edited)
        return self.made[vocabulary, edited]

    def spec(self, run: Run) -> Spec:
        """What the run's process is told."""
        data = self.data_set(run.vocabulary, run.edited)
        settings: dict[str, Any] = {
            "pairs_per_step": self.pairs_per_step,
            "tokens_per_batch": self.tokens_per_batch,
            "bfloat16": self.bfloat16,
            "loop_seed": _LOOP_SEED,
        }
        return Spec(
            kind=run.contender.kind,
            model=str(data.model),
            shards=str(data.shards),
            pairs=str(data.pairs),
            shape=self.shape,
            vocabulary=run.vocabulary,
            steps=run.steps,
            **(settings | run.contender.settings),
        )

    def _make(self, vocabulary: int, edited: float) -> DataSet:
        name = f"{vocabulary}-{round(100 * edited)}"
        model = self.directory / f"model-{vocabulary}"
        shards, pairs = self.directory / f"shards-{name}", self.directory / f"pairs-{name}.parquet"
        if not (model / "config.json").is_file():
            save_random_model(model, self.shape, vocabulary)
        settings = ChatLike(vocabulary, edited, answer_median=self.answer_median)
        steps = draw_steps(settings, steps=self.steps, pairs_per_step=self.pairs_per_step)
        write_step_shards(shards, steps, loop_seed=_LOOP_SEED)
        write_steps(pairs, steps)
        return DataSet(model, shards, pairs, _tokens_per_pair(steps))


def _tokens_per_pair(steps: list[list[BarePair]]) -> float:
    pairs = [pair for step in steps for pair in step]
    return sum(pair.tokens for pair in pairs) / len(pairs)


def run_all(bench: Bench, runs: Iterable[Run]) -> Results:
    """Every run in a process of its own, one after the other; of disturbed ones the calmer attempt counts."""
    results = Results()
    for run in runs:
        if run.contender.kind == "trl" and not _TRL_PYTHON.is_file():
            _say(f"{run.contender.name}: left out, there is no .venv-bench (`make bench` installs it)")
            continue
        results.matmul.append(matmul_peak(bfloat16=bench.bfloat16))
        measured = min(_measured(bench, run), key=lambda one: one.other_cores)
        results.add(run, measured)
    return results


def _measured(bench: Bench, run: Run) -> Iterator[Measured]:
    """The run; again if other work disturbed it, whatever its speed was."""
    for _ in range(_ATTEMPTS):
        begun, other_work = time.perf_counter(), OtherWork()
        outcome = Outcome.load(_in_process("contender", bench.spec(run), bench.directory))
        measured = Measured(outcome, other_work.cores())
        rate = sum(s.pairs for s in outcome.steps) / sum(s.seconds for s in outcome.steps)
        _say(
            f"{run.contender.name}, {run.vocabulary:,}, {run.edited:.0%}: {rate:.3f} pairs/s, "
            f"{outcome.peak_gb:.2f} GB ({time.perf_counter() - begun:.0f} s, "
            f"others used {measured.other_cores:.1f} cores)"
        )
        yield measured
        if measured.other_cores <= _DISTURBED_CORES:
            return


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def agreement(bench: Bench, run: Run) -> float:
    """Largest difference of our gradient to the reference's, relative; in fp32 also on CUDA."""
    spec = replace(bench.spec(run), bfloat16=False)
    return json.loads(_in_process("agreement", spec, bench.directory).read_text())["gradient_difference"]


def _in_process(module: str, spec: Spec, directory: Path) -> Path:
    told, answer, log = directory / "spec.json", directory / "answer.json", directory / "log.txt"
    spec.save(told)
    answer.unlink(missing_ok=True)
    python = str(_TRL_PYTHON) if spec.kind == "trl" else sys.executable
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    } | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("wb") as output:
        done = subprocess.run(
            [python, "-m", f"tests.benchmarks.{module}", str(told), str(answer)],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(
            f"{module} of {spec} ended with code {done.returncode}:\n{log.read_text()[-3000:]}"
        )
    return answer


def main() -> None:
    """Run, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.training", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run on a tiny model; no figures")
    parser.add_argument("--float32", action="store_true", help="on a GPU, where bfloat16 is the default")
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    import torch
    from rich.console import Console

    begun = time.perf_counter()
    cuda = torch.cuda.is_available()
    bfloat16 = cuda and not arguments.float32
    runs = list(quick_runs() if quick else gpu_runs() if cuda else full_runs())
    with tempfile.TemporaryDirectory(prefix="figa-bench-") as scratch:
        bench = Bench(
            shape=QUICK_SHAPE if quick else CUDA_SHAPE if cuda else CPU_SHAPE,
            bfloat16=bfloat16,
            pairs_per_step=4 if quick else 64 if cuda else 8,
            tokens_per_batch=16_384 if cuda else 4096,
            steps=max(run.steps for run in runs) + WARM_UP,
            answer_median=30 if quick else 250,
            directory=Path(scratch),
        )
        difference = agreement(bench, runs[0])
        results = run_all(bench, runs)
        tokens = {Case(*case): data.tokens_per_pair for case, data in bench.made.items()}
    # Wide, so that a log file gets whole lines.
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table(results, tokens))
    numbers = figures(results, tokens) | {"gradient_difference": difference}
    console.print(f"gradient of ours against the reference's, same N: {difference:.1e} of its largest entry")
    console.print(
        f"matmul {min(results.matmul) / 1e9:,.0f} to {results.matmul_peak / 1e9:,.0f} GFLOP/s over the run "
        f"(shares are of the latter); {time.perf_counter() - begun:.0f} s in all"
    )
    save(f"training{'-float32' * (cuda and not bfloat16)}{'-quick' * quick}", numbers)


if __name__ == "__main__":
    main()
