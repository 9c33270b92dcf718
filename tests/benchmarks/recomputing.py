"""Activation checkpointing: the memory of activations and the time of a step, with and without it.

    python -m tests.benchmarks.recomputing [--quick]

A step is forward and backward over one packed row. Each way runs in a process of its own, whose memory above
weights and gradients is that of activations. Prints two lines and writes ``build/bench/recomputing.json``.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from tests.benchmarks.figures import save, show
from tests.benchmarks.measure import MemoryWatch
from tests.benchmarks.models import CPU_SHAPE, QUICK_SHAPE, Shape

_VOCABULARY = 32_000
_PIECES, _PIECE_TOKENS = 8, 512
_WEIGHTED = 10  # one token in so many has a weight
_STEPS = 3


def measure(shape: Shape, *, recompute: bool) -> dict[str, float]:
    """Gigabytes of activations, and the median seconds of a step, in this process."""
    import torch

    from figa_core.training.attention import use_packed_attention
    from figa_core.training.model import WeightedTokenLogits
    from figa_core.training.recomputing import use_activation_checkpointing

    model = _model(shape).train()
    assert use_packed_attention(model)
    use_activation_checkpointing(recompute, model, torch.device("cpu"))
    module = WeightedTokenLogits(model, sparse_head=True)

    def step(pieces: int) -> float:
        lengths = (_PIECE_TOKENS,) * pieces
        ids_BT = torch.randint(2, _VOCABULARY, (1, sum(lengths)))
        positions_BT = torch.arange(_PIECE_TOKENS).repeat(pieces)[None]
        columns_K = torch.arange(0, sum(lengths), _WEIGHTED)
        begun = time.perf_counter()
        logits_KV = module(ids_BT, torch.zeros_like(columns_K), columns_K, positions_BT, lengths)
        torch.nn.functional.cross_entropy(logits_KV, ids_BT[0, columns_K]).backward()
        return time.perf_counter() - begun

    step(1)  # makes the gradients
    watch = MemoryWatch()
    seconds = [step(_PIECES) for _ in range(_STEPS)]
    return {"activations_gb": watch.outcome([]).above_gb, "seconds": statistics.median(seconds)}


def _model(shape: Shape) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=_VOCABULARY,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_value_heads,
            tie_word_embeddings=True,
        )
    )


def main() -> int:
    """Measure both ways in turn."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.recomputing")
    parser.add_argument("--quick", action="store_true", help="a small model: whether it runs at all")
    parser.add_argument("--side", choices=("kept", "recomputed"), help="of this process")
    arguments = parser.parse_args()
    if arguments.side:
        shape = QUICK_SHAPE if arguments.quick else CPU_SHAPE
        print(json.dumps(measure(shape, recompute=arguments.side == "recomputed")))
        return 0
    found = {side: _in_a_process(side, quick=arguments.quick) for side in ("kept", "recomputed")}
    kept, again = found["kept"], found["recomputed"]
    figures = {
        **{f"{name}_{side}": value for side, values in found.items() for name, value in values.items()},
        "memory_ratio": again["activations_gb"] / kept["activations_gb"],
        "time_ratio": again["seconds"] / kept["seconds"],
    }
    for name, unit in (("activations_gb", "GB of activations"), ("seconds", "s a step")):
        show(f"{unit}: {again[name]:.3g} recomputed, {kept[name]:.3g} kept, {again[name] / kept[name]:.2f}")
    save("recomputing-quick" if arguments.quick else "recomputing", figures)
    return 0


def _in_a_process(side: str, *, quick: bool) -> dict[str, float]:
    options = ["--side", side, *(["--quick"] if quick else [])]
    command = [sys.executable, "-m", "tests.benchmarks.recomputing", *options]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
