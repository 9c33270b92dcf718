"""Activation checkpointing: the memory of activations and the time of a step, with and without it.

    python -m tests.benchmarks.recomputing [--quick]

A step is forward and backward over one packed row, of a small model and of one with SmolLM-135M's shape (30
layers). Each way runs in a process of its own, whose memory above weights and gradients is that of
activations. Prints two lines for each and writes ``build/bench/recomputing.json``.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.figures import save, save_part, show
from tests.benchmarks.measure import MemoryWatch
from tests.benchmarks.models import CPU_SHAPE, QUICK_SHAPE, SMOLLM_SHAPE, SMOLLM_VOCABULARY, Shape

_PIECE_TOKENS = 512
_WEIGHTED = 10  # one token in so many has a weight
_STEPS = 3


@dataclass(frozen=True, slots=True)
class Model:
    """Its sizes, and the pieces of a row; `suffix` is that of its figures."""

    shape: Shape
    vocabulary: int
    pieces: int
    suffix: str = ""


_MODELS = {
    "quick": Model(QUICK_SHAPE, 2_000, 2),
    "small": Model(CPU_SHAPE, 32_000, 8),
    "smollm": Model(SMOLLM_SHAPE, SMOLLM_VOCABULARY, 4, "_30_layers"),
}


def measure(sizes: Model, *, recompute: bool) -> dict[str, float]:
    """Gigabytes of activations, and the median seconds of a step, in this process."""
    import torch

    from figa_core.training.attention import use_packed_attention
    from figa_core.training.model import WeightedTokenLogits
    from figa_core.training.recomputing import use_activation_checkpointing

    model = _model(sizes).train()
    assert use_packed_attention(model)
    use_activation_checkpointing(recompute, model, torch.device("cpu"))
    module = WeightedTokenLogits(model, sparse_head=True)

    def step(pieces: int) -> float:
        lengths = (_PIECE_TOKENS,) * pieces
        ids_BT = torch.randint(2, sizes.vocabulary, (1, sum(lengths)))
        positions_BT = torch.arange(_PIECE_TOKENS).repeat(pieces)[None]
        columns_K = torch.arange(0, sum(lengths), _WEIGHTED)
        begun = time.perf_counter()
        logits_KV = module(ids_BT, torch.zeros_like(columns_K), columns_K, positions_BT, lengths)
        torch.nn.functional.cross_entropy(logits_KV, ids_BT[0, columns_K]).backward()
        return time.perf_counter() - begun

    step(1)  # makes the gradients
    watch = MemoryWatch()
    seconds = [step(sizes.pieces) for _ in range(_STEPS)]
    return {"activations_gb": watch.outcome([]).above_gb, "seconds": statistics.median(seconds)}


def _model(sizes: Model) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = sizes.shape
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_value_heads,
            tie_word_embeddings=True,
        )
    )


def main() -> int:
    """Measure both ways in turn, of each model."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.recomputing")
    parser.add_argument("--quick", action="store_true", help="a small model: whether it runs at all")
    parser.add_argument("--side", choices=("kept", "recomputed"), help="of this process")
    parser.add_argument("--model", choices=_MODELS, help="of this process")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(_MODELS[arguments.model], recompute=arguments.side == "recomputed")))
        return 0
    figures: dict[str, float] = {}
    for name in ("quick",) if arguments.quick else ("small", "smollm"):
        figures |= _compared(name)
    save("recomputing-quick" if arguments.quick else "recomputing", figures)
    save_part("training-quick" if arguments.quick else "training", "recomputing", figures)
    return 0


def _compared(model: str) -> dict[str, float]:
    """The figures of both ways."""
    found = {side: _in_a_process(side, model) for side in ("kept", "recomputed")}
    kept, again = found["kept"], found["recomputed"]
    layers, suffix = _MODELS[model].shape.layers, _MODELS[model].suffix
    for name, unit in (("activations_gb", "GB of activations"), ("seconds", "s a step")):
        ratio = again[name] / kept[name]
        show(f"{layers} layers, {unit}: {again[name]:.3g} recomputed, {kept[name]:.3g} kept, {ratio:.2f}")
    return {
        **{f"{name}_{side}{suffix}": value for side, each in found.items() for name, value in each.items()},
        f"memory_ratio{suffix}": again["activations_gb"] / kept["activations_gb"],
        f"time_ratio{suffix}": again["seconds"] / kept["seconds"],
    }


def _in_a_process(side: str, model: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.recomputing", "--side", side, "--model", model]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
