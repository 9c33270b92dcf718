"""Attention over packed rows on a GPU: one call, a loop over pieces, and PyTorch's alternatives.

    python -m tests.benchmarks.attention [--quick]

Forward and backward of one layer of a Llama with a billion parameters. The error is the largest relative
error of output and gradients against float64. Writes ``build/bench/attention.json``.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from rich.table import Table
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from figa_core.training import varlen
from figa_core.training.attention import packed_attention
from tests.benchmarks.figures import log, save, show
from tests.benchmarks.measure import MemoryWatch, finished_clock

_HEADS, _GROUPS, _WIDTH = 32, 4, 64
_WARM_UP, _REPEATS, _QUICK_REPEATS = 3, 20, 2

Way = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Layer(torch.nn.Module):
    """The attributes of a layer that transformers' function reads."""

    num_key_value_groups = _GROUPS
    is_causal = True


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of forward and backward (median, min, max), the error, and memory above the inputs."""

    way: str
    tokens: int
    dtype: str
    ms: tuple[float, float, float]
    error: float
    peak_mb: float


def piece_lengths(tokens: int) -> tuple[int, ...]:
    """Pieces of 300 to 1500 tokens (the last may be shorter) that fill a row."""
    rng, lengths, left = np.random.default_rng(0), [], tokens
    while left:
        lengths.append(min(left, int(np.clip(rng.lognormal(6.3, 0.5), 300, 1500))))
        left -= lengths[-1]
    return tuple(lengths)


def ways(lengths: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> dict[str, Way]:
    """Functions by name, all (1, H, T, D) → (1, T, H, D)."""
    layer = Layer()
    piece = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(device)
    place = torch.arange(len(piece), device=device)
    mask = ((piece[:, None] == piece[None]) & (place[:, None] >= place[None]))[None, None]

    def loop(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        with patch.object(varlen, "serves", lambda *_: False):
            return packed_attention(layer, query, key, value, None, lengths)[0]

    found: dict[str, Way] = {
        "loop over pieces": loop,
        "sdpa with a mask": lambda q, k, v: sdpa_attention_forward(layer, q, k, v, mask)[0],
    }
    if device.type == "cuda":
        found["flex attention, compiled"] = _flex(piece)
        if dtype != torch.float32:
            found["one call"] = lambda q, k, v: varlen.attend(q, k, v, lengths)
    return found


def _flex(piece: torch.Tensor) -> Way:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def seen(_batch: Any, _head: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (piece[query] == piece[key]) & (query >= key)

    mask = create_block_mask(seen, None, None, len(piece), len(piece), device=str(piece.device))
    compiled: Any = torch.compile(flex_attention)
    return lambda q, k, v: compiled(q, k, v, block_mask=mask, enable_gqa=True).transpose(1, 2)


def measure(tokens: int, dtype: torch.dtype, device: torch.device, repeats: int) -> Iterator[Timed]:
    """Every way on one row; those that fail are logged and left out."""
    lengths = piece_lengths(tokens)
    inputs, weights = _drawn(tokens, dtype, device)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    loop = ways(lengths, torch.float64, device)["loop over pieces"]
    expected = both_passes(loop, exact, weights.double())
    for name, way in ways(lengths, dtype, device).items():
        try:
            found = both_passes(way, inputs, weights)
            watch = MemoryWatch()
            seconds = list(_seconds(partial(both_passes, way, inputs, weights), repeats))
        except RuntimeError as problem:
            log(f"{name}, {tokens:,} tokens, {dtype}: {str(problem).splitlines()[0]}")
            continue
        error = max(float((f - e).norm() / e.norm()) for f, e in zip(found, expected, strict=True))
        ms = 1000 * median(seconds), 1000 * min(seconds), 1000 * max(seconds)
        yield Timed(name, tokens, str(dtype)[len("torch.") :], ms, error, 1000 * watch.outcome([]).above_gb)


def both_passes(way: Way, inputs: list[torch.Tensor], weights: torch.Tensor) -> list[torch.Tensor]:
    """The output and the gradients of its weighted sum."""
    output = way(*inputs)
    return [output.detach(), *torch.autograd.grad(output, inputs, weights)]


def _drawn(tokens: int, dtype: torch.dtype, device: torch.device) -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    few = _HEADS // _GROUPS
    shapes = [(1, heads, tokens, _WIDTH) for heads in (_HEADS, few, few)] + [(1, tokens, _HEADS, _WIDTH)]
    *inputs, weights = (torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes)
    return [tensor.requires_grad_() for tensor in inputs], weights


def _seconds(work: Callable[[], object], repeats: int) -> Iterator[float]:
    for turn in range(-_WARM_UP, repeats):
        begun = finished_clock()
        work()
        seconds = finished_clock() - begun
        if turn >= 0:
            yield seconds


def main() -> None:
    """Run, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.attention", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short row, also on a CPU; no real figures")
    quick: bool = parser.parse_args().quick
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not quick:
        sys.exit("This needs an NVIDIA GPU. --quick is a smoke run on a CPU.")
    rows = [
        timed
        for dtype in (torch.bfloat16, torch.float32)
        for tokens in ((512,) if quick else (8192, 16_384))
        for timed in measure(tokens, dtype, device, _QUICK_REPEATS if quick else _REPEATS)
    ]
    title = f"attention over packed rows, forward and backward of a layer ({device.type})"
    shown = Table("way", "tokens", "dtype", "ms, median (min to max)", "error", "peak MB", title=title)
    for row in rows:
        ms = f"{row.ms[0]:.2f} ({row.ms[1]:.2f} to {row.ms[2]:.2f})"
        shown.add_row(row.way, f"{row.tokens:,}", row.dtype, ms, f"{row.error:.1e}", f"{row.peak_mb:,.0f}")
    show(shown)
    numbers = {f"{row.way} {row.tokens} {row.dtype} ms".replace(" ", "_"): row.ms[0] for row in rows}
    save("attention-quick" if quick else "attention", numbers)


if __name__ == "__main__":
    main()
