"""Training: ours against the reference recipe and TRL, on the same pairs, model and dtype.

    python -m tests.benchmarks.training [--quick] [--float32] [--half-prompts]

On a GPU it uses a model with a billion parameters in bfloat16 (with --float32: in float32). Every contender
runs in its own process. Prints one table and writes ``build/bench/training.json``, which keeps what the
benchmarks of parts of a training put into it (`figures.save_part`).
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
from tests.benchmarks.figures import PARTS, log, save, save_part, show
from tests.benchmarks.flops import matmul_peak
from tests.benchmarks.measure import Agreement, Outcome
from tests.benchmarks.models import CPU_SHAPE, CUDA_SHAPE, QUICK_SHAPE, Shape, save_random_model
from tests.benchmarks.other_work import OtherWork
from tests.benchmarks.spec import WARM_UP, Spec
from tests.benchmarks.summary import Case, DataSet, Measured, Results, figures, table

_DISTURBED_CORES = 0.25
_ATTEMPTS = 2
_HALF_PROMPTS = "_p50"
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
    sequence_median: float
    directory: Path
    made: dict[Case, DataSet] = field(default_factory=dict)

    def data_set(self, case: Case) -> DataSet:
        """Model, shards and bare pairs, made once."""
        if case not in self.made:
            self.made[case] = self._make(case)
        return self.made[case]

    def spec(self, run: Run) -> Spec:
        """The spec of the run's process."""
        data = self.data_set(Case(run.vocabulary, run.edited, run.prompts))
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

    def _make(self, case: Case) -> DataSet:
        name, vocabulary = case.suffix, case.vocabulary
        model = self.directory / f"model-{vocabulary}"
        shards, pairs = self.directory / f"shards{name}", self.directory / f"pairs{name}.parquet"
        if not (model / "config.json").is_file():
            save_random_model(model, self.shape, vocabulary)
        median = self.answer_median if case.prompts is None else self.sequence_median
        settings = ChatLike(vocabulary, case.edited, median, case.prompts)
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
    parser.add_argument("--half-prompts", action="store_true", help="only prompts of half a sequence")
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    import torch

    begun = time.perf_counter()
    cuda = torch.cuda.is_available()
    bfloat16 = cuda and not arguments.float32
    runs = list(quick_runs() if quick else gpu_runs() if cuda else full_runs())
    if arguments.half_prompts:
        runs = [run for run in runs if run.prompts is not None]
    name = f"training{'-float32' * (cuda and not bfloat16)}{'-quick' * quick}"
    with tempfile.TemporaryDirectory(prefix="figa-bench-") as scratch:
        bench = Bench(
            shape=QUICK_SHAPE if quick else CUDA_SHAPE if cuda else CPU_SHAPE,
            bfloat16=bfloat16,
            pairs_per_step=4 if quick else 64 if cuda else 8,
            tokens_per_batch=16_384 if cuda else 4096,
            steps=max(run.steps for run in runs) + WARM_UP,
            answer_median=30 if quick else 250,
            sequence_median=60 if quick else 350,
            directory=Path(scratch),
        )
        results = run_all(bench, runs)
        tokens = {case: data.tokens_per_pair for case, data in bench.made.items()}
        show(table(results, tokens))
        measured = figures(results, tokens)
        if arguments.half_prompts:
            save_part(
                name, "", {key: value for key, value in measured.items() if key.endswith(_HALF_PROMPTS)}
            )
        else:
            save(name, measured | _others(bench, runs[0], quick=quick), keeping=PARTS)
    show(
        f"matmul {min(results.matmul) / 1e9:,.0f} to {results.matmul_peak / 1e9:,.0f} GFLOP/s over the run "
        f"(shares are of the latter); {time.perf_counter() - begun:.0f} s in total",
    )


def _others(bench: Bench, run: Run, *, quick: bool) -> dict[str, float]:
    """Whether the gradients agree, and what sharing beginnings gains."""
    spec = replace(bench.spec(run), bfloat16=False)
    agreement = Agreement.load(_in_process("agreement", spec, bench.directory))
    sizes = prefix_gain.sizes_here(quick=quick)
    gains = prefix_gain.measure(sizes, bench.directory)
    show(
        prefix_gain.table(gains, sizes.pairs_per_step),
        f"our gradient differs from the reference's, with the same N, by {agreement.gradient_difference:.1e} "
        "of its largest entry",
    )
    return asdict(agreement) | prefix_gain.figures(gains)


if __name__ == "__main__":
    main()
