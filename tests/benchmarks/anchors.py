"""What holds the unchanged tokens: FIGA with several anchors on a real model, side by side.

    python -m tests.benchmarks.anchors --model build/real/smollm2 [--variants "gamma 0" "gamma 0.3"]

Writes a JSON file for each variant below build/bench/anchors/, and prints a table of all that are there. A
variant whose file exists is not trained again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.table import Table

from figa_core.config.training import LossConfig
from tests.benchmarks.anchor_runs import Sizes, Trained, Variant, World, measure, run
from tests.benchmarks.figures import BENCH, log, show

VARIANTS = (
    Variant("gamma 0", LossConfig(gamma=0.0)),
    Variant("gamma 0.3", LossConfig(gamma=0.3)),
    Variant("kl 0.3", LossConfig(gamma=0.0, kl_weight=0.3)),
    Variant("gamma 0, unique negatives", LossConfig(gamma=0.0, negatives="unique")),
    Variant("gamma 0.3 fading over 4", LossConfig(gamma=0.3, gamma_fade_tokens=4.0)),
    Variant("gamma 0, beta 0", LossConfig(gamma=0.0, beta=0.0)),
    Variant("sft on the revision", LossConfig(objective="sft_revised")),
    Variant("gamma 0.1", LossConfig(gamma=0.1)),
    Variant("gamma 1", LossConfig(gamma=1.0)),
    Variant("kl 1", LossConfig(gamma=0.0, kl_weight=1.0)),
    Variant("gamma 0.3, beta 0", LossConfig(gamma=0.3, beta=0.0)),
    Variant("gamma 0.3, unlikelihood", LossConfig(objective="unlikelihood", gamma=0.3)),
    Variant("gamma 0, decaying rate", LossConfig(gamma=0.0), decay=True),
    Variant("gamma 0, epsilon 1e-4", LossConfig(gamma=0.0), epsilon=1e-4),
)
QUICK = Sizes(drafts=8, pairs=4, pairs_per_step=2, steps=2, measured_after=(2,), prompts=4, watched=2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure the variants, then print the table of all that are there."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.anchors")
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face directory")
    parser.add_argument("--output", type=Path, default=BENCH / "anchors")
    parser.add_argument("--variants", nargs="*", default=[variant.name for variant in VARIANTS])
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0, help="of the order of the pairs")
    parser.add_argument(
        "--quick", action="store_true", help="a few pairs and steps; the figures mean nothing"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    world = World(options.model, options.output, QUICK if options.quick else Sizes())
    data = world.build()
    log(f"{len(data)} pairs")
    base = options.output / "base.json"
    if not base.exists():
        base.write_text(json.dumps(asdict(measure(Trained(options.model), world, data, 0)), indent=1))
    for variant in VARIANTS:
        path = options.output / f"{variant.name}, {options.learning_rate:g}, seed {options.seed}.json"
        if variant.name in options.variants and not path.exists():
            how = {"learning_rate": options.learning_rate, "seed": options.seed}
            course = run(variant, world, data, **how, tell=log)
            path.write_text(json.dumps(asdict(course), indent=1, ensure_ascii=False))
    show(table(options.output))


def table(directory: Path) -> Table:
    """Scores with their standard errors, and in brackets the NLL of unchanged tokens, by steps."""
    base = json.loads((directory / "base.json").read_text())
    rows = {
        path.stem: {point["step"]: point for point in json.loads(path.read_text())["points"]}
        for path in sorted(directory.glob("*, seed *.json"))
    }
    steps = sorted({step for points in rows.values() for step in points})
    found = Table("score of 100 (error; NLL of unchanged tokens, p of the end of turn)")
    for step in (0, *steps):
        found.add_column(f"after {step}")
    found.add_row("base model", _cell(base))
    for name, points in rows.items():
        found.add_row(name, "", *(_cell(points[step]) if step in points else "" for step in steps))
    return found


def _cell(point: dict[str, float]) -> str:
    rest = f"{point['error']:.1f}; {point['kept_nll']:.3f}, {point['end_probability']:.2f}"
    return f"{point['score']:.1f} ({rest})"


if __name__ == "__main__":
    main()
