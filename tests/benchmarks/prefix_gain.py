"""Prefix sharing against the same training without it, by the prompt's share of a sequence.

    python -m tests.benchmarks.prefix_gain [--quick]

Every step's pairs are taken both ways in turn, in one process with one model, so that the machine's speed
drifts for both alike. A step is forward, backward and AdamW. Prints a table and writes
``build/bench/prefix_gain.json``.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.benchmarks.chatlike import ChatLike, draw_steps, write_step_shards
from tests.benchmarks.child import start, wait_for
from tests.benchmarks.figures import log, save, show, spread
from tests.benchmarks.json_file import JsonFile
from tests.benchmarks.models import CPU_SHAPE, CUDA_SHAPE, QUICK_SHAPE, Shape, save_random_model
from tests.benchmarks.other_work import OtherWork
from tests.benchmarks.spec import WARM_UP
from tests.benchmarks.spec import Spec as TrainingSpec

PROMPT_SHARES = (0.15, 0.5, 0.8)
_EDITED = 0.1


@dataclass(frozen=True, slots=True)
class Spec(JsonFile):
    """The training to measure."""

    training: TrainingSpec

    @classmethod
    def parsed(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """With the training's spec."""
        return {"training": TrainingSpec(**TrainingSpec.parsed(fields["training"]))}


@dataclass(frozen=True, slots=True)
class Gains(JsonFile):
    """For each timed step: seconds without and with sharing, and the tokens that went through the model."""

    seconds: tuple[tuple[float, float], ...]
    tokens: tuple[tuple[int, int], ...]
    peak_gb: float

    @property
    def gains(self) -> list[float]:
        """Pairs per second over those without sharing, in each step."""
        return [without / with_it for without, with_it in self.seconds]

    @property
    def bound(self) -> float:
        """The gain if a step took as long as it has tokens."""
        without, with_it = (sum(side) for side in zip(*self.tokens, strict=True))
        return without / with_it


def run(spec: Spec) -> Gains:
    """Train each of the steps twice in turn."""
    from figa_core.training.data import PairData
    from figa_core.training.engine import ZeroEngine
    from figa_core.training.loop import Steps
    from tests.benchmarks import ours
    from tests.benchmarks.measure import MemoryWatch, finished_clock

    ours.join_alone()
    seconds: list[tuple[float, float]] = []
    tokens: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as scratch:
        job = ours.job_of(spec.training, Path(scratch))
        engine = ZeroEngine(job)
        steps, watch = Steps(job, engine, PairData(job.shards)), MemoryWatch()
        assert engine.shares, engine.attention
        for number in range(1, job.steps + 1):
            found: dict[bool, Any] = {}
            for sharing in (False, True) if number % 2 else (True, False):
                engine.shares = sharing
                found[sharing] = steps.run(number, finished_clock)
            seconds.append((found[False].seconds, found[True].seconds))
            tokens.append((found[False].tokens, found[True].tokens))
        peak = watch.outcome([]).peak_gb
        engine.close()
    return Gains(tuple(seconds[WARM_UP:]), tuple(tokens[WARM_UP:]), peak)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the model, and of its steps; `sequence_median` is a length in tokens."""

    shape: Shape
    vocabulary: int
    pairs_per_step: int
    tokens_per_batch: int
    steps: int
    sequence_median: float
    bfloat16: bool


def sizes_here(*, quick: bool) -> Sizes:
    """Sizes for this machine's device."""
    import torch

    if quick:
        return Sizes(QUICK_SHAPE, 2_000, 4, 4096, 2, 60, bfloat16=False)
    if torch.cuda.is_available():
        return Sizes(CUDA_SHAPE, 32_000, 64, 16_384, 6, 350, bfloat16=True)
    return Sizes(CPU_SHAPE, 32_000, 8, 4096, 4, 350, bfloat16=False)


def measure(sizes: Sizes, directory: Path) -> dict[float, Gains]:
    """By the prompt's share, each in a process of its own."""
    model = directory / "prefix-model"
    save_random_model(model, sizes.shape, sizes.vocabulary)
    return {share: _measured(sizes, share, model, directory) for share in PROMPT_SHARES}


def _measured(sizes: Sizes, prompt_share: float, model: Path, directory: Path) -> Gains:
    shards = directory / f"prefix-shards-{round(100 * prompt_share)}"
    settings = ChatLike(sizes.vocabulary, _EDITED, sizes.sequence_median, prompt_share)
    steps = draw_steps(settings, steps=sizes.steps + WARM_UP, pairs_per_step=sizes.pairs_per_step)
    write_step_shards(shards, steps)
    training = TrainingSpec(
        kind="ours",
        model=str(model),
        shards=str(shards),
        pairs="",
        shape=sizes.shape,
        vocabulary=sizes.vocabulary,
        steps=sizes.steps,
        pairs_per_step=sizes.pairs_per_step,
        tokens_per_batch=sizes.tokens_per_batch,
        bfloat16=sizes.bfloat16,
    )
    spec, outcome = directory / "prefix-spec.json", directory / "prefix-gains.json"
    Spec(training).save(spec)
    other_work = OtherWork()
    child = start(
        "contender",
        ("prefix_gain", spec, outcome),
        directory / "prefix-log.txt",
        python=Path(sys.executable),
        without=("OMP_NUM_THREADS", "MKL_NUM_THREADS"),
        HF_HUB_OFFLINE="1",
    )
    wait_for(child, f"prefix sharing, prompts of {prompt_share:.0%}")
    found = Gains.load(outcome)
    log(
        f"prompts of {prompt_share:.0%}: {spread(found.gains)} times the pairs/s, "
        f"{found.bound:.2f} by tokens (others used {other_work.cores():.1f} cores)"
    )
    return found


def table(measured: dict[float, Gains], pairs_per_step: int) -> Table:
    """One line for each share."""
    shown = Table(title="prefix sharing: pairs/s against the same training without it, in alternation")
    for heading in (
        "prompt's share",
        "without, pairs/s",
        "with",
        "gain [min, max]",
        "bound by tokens",
    ):
        shown.add_column(heading, justify="right")
    for share, found in measured.items():
        without, with_it = (pairs_per_step / spread(side).median for side in zip(*found.seconds, strict=True))
        cells = (f"{share:.0%}", f"{without:.3f}", f"{with_it:.3f}", str(spread(found.gains)))
        shown.add_row(*cells, f"{found.bound:.2f}")
    return shown


def figures(measured: dict[float, Gains]) -> dict[str, float]:
    """For the JSON file."""
    named: dict[str, float] = {}
    for share, found in measured.items():
        named |= spread(found.gains).named(f"prefix_gain_{round(100 * share)}")
        named[f"prefix_bound_{round(100 * share)}"] = found.bound
    return named


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.prefix_gain", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run on a tiny model; no real figures")
    quick: bool = parser.parse_args(arguments).quick
    sizes = sizes_here(quick=quick)
    with tempfile.TemporaryDirectory(prefix="figa-bench-") as scratch:
        measured = measure(sizes, Path(scratch))
    show(table(measured, sizes.pairs_per_step))
    save(f"prefix_gain{'-quick' * quick}", figures(measured))


if __name__ == "__main__":
    main()
