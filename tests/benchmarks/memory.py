"""The plan of memory against the measured peak: model sizes, ZeRO stages, and activations kept or not.

    python -m tests.benchmarks.memory [--quick]

Two ranks on the CPU train a few steps in float32 on packed rows in which every token has a weight. The peak
is that of a rank's anonymous memory above what it had before it made the engine, so the plan is compared
without its part for the process. Prints a table and writes ``build/bench/memory.json``.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table

from tests.benchmarks.figures import save, save_part, show
from tests.benchmarks.loading import Peak
from tests.benchmarks.models import CPU_SHAPE, QUICK_SHAPE, SMOLLM_SHAPE, Shape, save_random_model

_RANKS, _STEPS, _MICRO_BATCHES = 2, 2, 2
_PIECES, _PIECE_TOKENS = 8, 128
_VOCABULARY, _QUICK_VOCABULARY = 32_000, 8000
_SIZES = {
    "small": Shape(hidden=256, layers=6, heads=4, key_value_heads=4, intermediate=768),
    "medium": CPU_SHAPE,
    "large": SMOLLM_SHAPE,
}
_QUICK_SIZES = {"tiny": QUICK_SHAPE}
Stage = Literal[1, 2, 3]
_STAGES: tuple[Stage, ...] = (1, 2, 3)
_CASES: list[tuple[Stage, bool]] = [(stage, recompute) for stage in _STAGES for recompute in (False, True)]


def measure(directory: Path, model: Path) -> None:
    """In a rank: write planned and measured bytes of each case."""
    _train(directory, directory / "warm-up", stage=3, recompute=False)
    found: dict[str, dict[str, int]] = {}
    for stage, recompute in _CASES:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        with Peak() as peak:
            planned = _train(directory, model, stage=stage, recompute=recompute)
        found[f"zero{stage}{'_recomputed' * recompute}"] = {"planned": planned, "measured": peak.bytes}
    (directory / f"rank{os.environ['RANK']}.json").write_text(json.dumps(found))


def _train(directory: Path, model: Path, *, stage: Stage, recompute: bool) -> int:
    """Some steps; returns the plan."""
    from figa_core.config.training import TrainingConfig
    from figa_core.training.device_memory import Devices
    from figa_core.training.engine import ZeroEngine
    from figa_core.training.job import TrainingJob
    from figa_core.training.memory_report import TrainingMemory

    training = TrainingConfig(
        learning_rate=1e-5,
        pairs_per_step=1,
        tokens_per_batch=_PIECES * _PIECE_TOKENS,
        zero_stage=stage,
        processes=_RANKS,
        dtype="float32",
        activation_checkpointing=recompute,
    )
    job = TrainingJob(
        training_id="bench", model=model, shards=directory, output=directory, steps=1, training=training
    )
    engine = ZeroEngine(job)
    for _ in range(_STEPS):
        for _ in range(_MICRO_BATCHES):
            _backward(engine)
        engine.step(1e-5)
    engine.barrier()
    plan = TrainingMemory(training, model, Devices("cpu", 1, 0, 0)).plan.device
    return plan.total - plan.process


def _backward(engine: Any) -> None:
    from figa_core.training.micro_batch import MicroBatch
    from figa_core.training.model import token_nll

    tokens = _PIECES * _PIECE_TOKENS
    ids_T = np.arange(tokens, dtype=np.int64) % engine.vocabulary
    batch = MicroBatch(
        ids_BT=ids_T[None],
        rows_K=np.zeros(tokens, dtype=np.int64),
        columns_K=np.arange(tokens),
        targets_K=ids_T,
        weights_K=np.ones(tokens, dtype=np.float32),
        position_ids_BT=np.tile(np.arange(_PIECE_TOKENS), _PIECES)[None],
        piece_lengths=(_PIECE_TOKENS,) * _PIECES,
    )
    nll_K = token_nll(engine.logits(batch), engine.tensor(batch.targets_K), engine.tensor(batch.weights_K))
    engine.backward(nll_K.mean() / _RANKS)


def _cases_of(name: str, shape: Shape, vocabulary: int) -> dict[str, dict[str, int]]:
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        save_random_model(directory / "warm-up", QUICK_SHAPE, 128)
        save_random_model(directory / name, shape, vocabulary)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
        command += [f"--nproc-per-node={_RANKS}", "-m", "tests.benchmarks.memory", "--side", made]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        subprocess.run([*command, "--model", name], check=True, env=environment)
        of_ranks = [json.loads((directory / f"rank{rank}.json").read_text()) for rank in range(_RANKS)]
    return {case: max((found[case] for found in of_ranks), key=_measured) for case in of_ranks[0]}


def _measured(found: dict[str, int]) -> int:
    return found["measured"]


def main() -> int:
    """Measure every case, or those of one rank."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.memory")
    parser.add_argument("--quick", action="store_true", help="a small model: whether it runs at all")
    parser.add_argument("--side", type=Path, help="of this process: the directory of the models")
    parser.add_argument("--model", help="the one to measure there")
    arguments = parser.parse_args()
    if arguments.side:
        measure(arguments.side, arguments.side / arguments.model)
        return 0
    sizes, vocabulary = (_QUICK_SIZES, _QUICK_VOCABULARY) if arguments.quick else (_SIZES, _VOCABULARY)
    table, figures = Table("model", "case", "planned MB", "measured MB", "plan / peak"), {}
    for name, shape in sizes.items():
        for case, found in _cases_of(name, shape, vocabulary).items():
            ratio = found["planned"] / found["measured"]
            figures |= {f"{name}_{case}_{what}_mb": size / 1e6 for what, size in found.items()}
            figures[f"{name}_{case}_ratio"] = ratio
            megabytes = (f"{found[what] / 1e6:,.0f}" for what in ("planned", "measured"))
            table.add_row(name, case, *megabytes, f"{ratio:.2f}")
    worst = max(abs(value - 1) for name, value in figures.items() if name.endswith("_ratio"))
    show(table, f"the plan is within {worst:.0%} of the peak")
    figures["largest_difference"] = worst
    save("memory-quick" if arguments.quick else "memory", figures)
    save_part("training-quick" if arguments.quick else "training", "memory_plan", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
