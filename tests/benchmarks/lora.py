"""LoRA (rank 16, all linear layers) against training all weights: pairs/s, and the memory of a process.

    python -m tests.benchmarks.lora [--quick]

A step is forward, backward and AdamW over 8 pairs like chat data, in fp32 on one rank, on the real model of
135 million parameters. Each way runs in a process of its own, both in turn, the first one in turn too. Prints
two lines, medians with the lowest and the highest, and writes ``build/bench/lora.json``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.chatlike import ChatLike, draw_steps, write_step_shards
from tests.benchmarks.child import ROOT
from tests.benchmarks.figures import log, save, save_part, show, spread
from tests.benchmarks.models import QUICK_SHAPE, save_random_model
from tests.benchmarks.spec import WARM_UP, Spec

_SIDES = ("full", "lora")
_RANK = 16
_STEPS = 3
_TURNS, _QUICK_TURNS = 4, 2
_EDITED = 0.1


def measure(spec: Spec, *, lora: bool) -> dict[str, float]:
    """The median pairs/s of the timed steps, and the peak memory in GB (1e9 bytes), in this process."""
    from statistics import median

    from figa_core.config import LoraConfig
    from figa_core.training.data import PairData
    from figa_core.training.engine import ZeroEngine
    from figa_core.training.loop import Steps
    from tests.benchmarks import ours
    from tests.benchmarks.measure import MemoryWatch, finished_clock

    ours.join_alone()
    with tempfile.TemporaryDirectory() as scratch:
        job = ours.job_of(spec, Path(scratch))
        settings = LoraConfig(rank=_RANK if lora else None)
        job = job.model_copy(update={"training": job.training.model_copy(update={"lora": settings})})
        engine = ZeroEngine(job)
        steps, watch = Steps(job, engine, PairData(job.shards)), MemoryWatch()
        made = [steps.run(number, finished_clock) for number in range(1, job.steps + 1)][WARM_UP:]
        outcome = watch.outcome([])
        engine.close()
    return {
        "pairs_per_second": median(step.pairs / step.seconds for step in made),
        "peak_gb": outcome.peak_gb,
        "above_start_gb": outcome.above_gb,
    }


def spec_of(directory: Path, *, quick: bool) -> Spec:
    """The training to measure; model and pairs are made in the directory, if need be."""
    if quick:
        vocabulary, model = 2_000, directory / "model"
        save_random_model(model, QUICK_SHAPE, vocabulary)
    else:
        from figa_core.real.weights import real_model

        model = real_model(ROOT / "build" / "real", on_progress=log)
        vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    pairs = 4 if quick else 8
    settings = ChatLike(vocabulary, _EDITED, answer_median=30 if quick else 250)
    write_step_shards(
        directory / "shards", draw_steps(settings, steps=_STEPS + WARM_UP, pairs_per_step=pairs)
    )
    return Spec(
        kind="ours",
        model=str(model),
        shards=str(directory / "shards"),
        pairs="",
        shape=QUICK_SHAPE,  # nothing here reads it
        vocabulary=vocabulary,
        steps=_STEPS,
        pairs_per_step=pairs,
    )


def main() -> int:
    """Measure both ways in turn."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.lora")
    parser.add_argument("--quick", action="store_true", help="a small model: whether it runs at all")
    parser.add_argument("--side", choices=_SIDES, help="of this process")
    parser.add_argument("--spec", type=Path, help="of this process")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(Spec.load(arguments.spec), lora=arguments.side == "lora")))
        return 0
    with tempfile.TemporaryDirectory(prefix="figa-bench-") as scratch:
        spec = Path(scratch) / "spec.json"
        spec_of(Path(scratch), quick=arguments.quick).save(spec)
        turns = _QUICK_TURNS if arguments.quick else _TURNS
        found = [_turn(number, spec) for number in range(turns)]
    figures: dict[str, float] = {}
    for side in _SIDES:
        for name in found[0][side]:
            figures |= spread([turn[side][name] for turn in found]).named(f"{name}_{side}")
    for name, ratio, unit in (
        ("pairs_per_second", "lora_gain", "pairs/s"),
        ("peak_gb", "lora_memory_ratio", "GB at most"),
    ):
        full, lora = (spread([turn[side][name] for turn in found]) for side in _SIDES)
        ratios = spread([turn["lora"][name] / turn["full"][name] for turn in found])
        figures |= ratios.named(ratio)
        show(f"{unit}: {lora} LoRA, {full} all weights, {ratios} of it in the same turn")
    save("lora-quick" if arguments.quick else "lora", figures)
    save_part("training-quick" if arguments.quick else "training", "lora", figures)
    return 0


def _turn(number: int, spec: Path) -> dict[str, dict[str, float]]:
    """Both sides, one after the other."""
    order = _SIDES if number % 2 == 0 else _SIDES[::-1]
    return {side: _in_a_process(side, spec) for side in order}


def _in_a_process(side: str, spec: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.lora", "--side", side, "--spec", str(spec)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
