"""Training: ours against the reference recipe and TRL, on the same pairs, model and dtype.

    python -m tests.benchmarks.training [--quick] [--float32]

On a GPU it uses a model with a billion parameters in bfloat16 (with --float32: in float32). Every contender
runs in its own process. Prints one table and writes ``build/bench/training.json``.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.benchmarks import prefix_gain
from tests.benchmarks.bare_pairs import write_steps
from tests.benchmarks.chatlike import ChatLike, draw_steps, write_step_shards
from tests.benchmarks.child import ROOT, start, wait_for
from tests.benchmarks.contenders import Run, full_runs, gpu_runs, quick_runs
from tests.benchmarks.figures import log, save, show
from tests.benchmarks.flops import matmul_peak
from tests.benchmarks.measure import Agreement, Outcome
from tests.benchmarks.models import CPU_SHAPE, CUDA_SHAPE, QUICK_SHAPE, Shape, save_random_model
from tests.benchmarks.other_work import OtherWork
from tests.benchmarks.spec import WARM_UP, Spec
from tests.benchmarks.summary import Case, DataSet, Measured, Results, figures, table

_DISTURBED_CORES = 0.25
_ATTEMPTS = 2
_TRL_PYTHON = ROOT / ".venv-trl" / "bin" / "python"
_MODULES = {"ours": "ours", "reference": "reference_run", "trl": "trl_sft"}


@dataclass(frozen=True, slots=True)
class Bench:
    """Sizes of this run, and the data sets made so far; `tokens_per_batch` limits our micro-batches."""

    shape: Shape
    bfloat16: bool
    pairs_per_step: int
    tokens_per_batch: int
    steps: int
    answer_median: float
    directory: Path
    made: dict[tuple[int, float], DataSet] = field(default_factory=dict)

    def data_set(self, vocabulary: int, edited: float) -> DataSet:
        """Model, shards and bare pairs, made once."""
        if (vocabulary, edited) not in self.made:
            self.made[vocabulary, edited] = self._make(vocabulary, edited)
        return self.made[vocabulary, edited]

    def spec(self, run: Run) -> Spec:
        """The spec of the run's process."""
        data = self.data_set(run.vocabulary, run.edited)
        settings: dict[str, Any] = {
            "pairs_per_step": self.pairs_per_step,
            "tokens_per_batch": self.tokens_per_batch,
            "bfloat16": self.bfloat16,
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
        write_step_shards(shards, steps)
        write_steps(pairs, steps)
        tokens = [pair.tokens for step in steps for pair in step]
        return DataSet(model, shards, pairs, sum(tokens) / len(tokens))


def run_all(bench: Bench, runs: Iterable[Run]) -> Results:
    """Every run in its own process, one after the other; of disturbed ones the calmer attempt counts."""
    results = Results()
    for run in runs:
        if run.contender.kind == "trl" and not _TRL_PYTHON.is_file():
            log(f"{run.contender.name}: left out, there is no .venv-trl (`make bench` installs it)")
            continue
        results.matmul.append(matmul_peak(bfloat16=bench.bfloat16))
        measured = min(_measured(bench, run), key=lambda one: one.other_cores)
        results.add(run, measured)
    return results


def _measured(bench: Bench, run: Run) -> Iterator[Measured]:
    """The run, and again if other work disturbed it, whatever its speed."""
    for _ in range(_ATTEMPTS):
        begun, other_work = time.perf_counter(), OtherWork()
        module = _MODULES[run.contender.kind]
        outcome = Outcome.load(_in_process(module, bench.spec(run), bench.directory))
        measured = Measured(outcome, other_work.cores())
        rate = sum(s.pairs for s in outcome.steps) / sum(s.seconds for s in outcome.steps)
        log(
            f"{run.contender.name}, {run.vocabulary:,}, {run.edited:.0%}: {rate:.3f} pairs/s, "
            f"{outcome.peak_gb:.2f} GB ({time.perf_counter() - begun:.0f} s, "
            f"others used {measured.other_cores:.1f} cores)"
        )
        yield measured
        if measured.other_cores <= _DISTURBED_CORES:
            return


def _in_process(module: str, spec: Spec, directory: Path) -> Path:
    spec_path, outcome = directory / "spec.json", directory / "outcome.json"
    spec.save(spec_path)
    outcome.unlink(missing_ok=True)
    child = start(
        "contender",
        (module, spec_path, outcome),
        directory / "log.txt",
        python=_TRL_PYTHON if spec.kind == "trl" else Path(sys.executable),
        without=("OMP_NUM_THREADS", "MKL_NUM_THREADS"),
        HF_HUB_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
    )
    wait_for(child, f"{module} of {spec}")
    return outcome


def main() -> None:
    """Run, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.training", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run on a tiny model; no real figures")
    parser.add_argument("--float32", action="store_true", help="on a GPU; the default there is bfloat16")
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    import torch

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
        spec = replace(bench.spec(runs[0]), bfloat16=False)
        agreement = Agreement.load(_in_process("agreement", spec, bench.directory))
        results = run_all(bench, runs)
        sizes = prefix_gain.sizes_here(quick=quick)
        gains = prefix_gain.measure(sizes, bench.directory)
        tokens = {Case(*case): data.tokens_per_pair for case, data in bench.made.items()}
    show(
        table(results, tokens),
        prefix_gain.table(gains, sizes.pairs_per_step),
        f"our gradient differs from the reference's, with the same N, by {agreement.gradient_difference:.1e} "
        "of its largest entry",
        f"matmul {min(results.matmul) / 1e9:,.0f} to {results.matmul_peak / 1e9:,.0f} GFLOP/s over the run "
        f"(shares are of the latter); {time.perf_counter() - begun:.0f} s in total",
    )
    numbers = figures(results, tokens) | asdict(agreement) | prefix_gain.figures(gains)
    save(f"training{'-float32' * (cuda and not bfloat16)}{'-quick' * quick}", numbers)


if __name__ == "__main__":
    main()
