"""Floating point operations by formula, and this machine's matmul speed for comparison.

A multiplication with its addition counts 2. The forward pass of a row of T tokens, of which H are projected:

    2 · T · layers · (hidden · (q + 2 kv) + q · hidden + 3 · hidden · intermediate)     projections
    + 2 · T² · q · layers                                                               causal attention
    + 2 · H · hidden · vocabulary                                                       head

with q and kv the widths of queries and keys; QKᵀ and AV are 4 · T² · q, of which the causal half counts.
Norms, softmax, embeddings and AdamW are left out. The backward pass counts twice the forward pass.
"""

import time
from statistics import median

from tests.benchmarks.models import Shape

_TRAINING = 3


def row_flops(
    shape: Shape,
    vocabulary: int,
    *,
    tokens: int,
    projected: int,
    head_passes: int = 1,
    before: int = 0,
) -> float:
    """Forward and backward of one row; `head_passes` is 2 if the head's forward runs again in backward.

    Its tokens also attend to so many tokens `before` them, which are not run.
    """
    q, kv = shape.hidden, shape.head_dim * shape.key_value_heads
    layer = shape.hidden * (q + 2 * kv) + q * shape.hidden + 3 * shape.hidden * shape.intermediate
    body = shape.layers * (2 * tokens * layer + (2 * tokens**2 + 4 * tokens * before) * q)
    head = 2 * projected * shape.hidden * vocabulary
    return _TRAINING * body + (_TRAINING + head_passes - 1) * head


def matmul_peak(*, bfloat16: bool) -> float:
    """FLOP/s of a large matmul in fp32 or bf16, on a GPU if there is one: the median of seven."""
    import torch

    cuda = torch.cuda.is_available()
    size = 8192 if cuda else 2048
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    left, right = (torch.randn(size, size, device="cuda" if cuda else "cpu").to(dtype) for _ in range(2))
    seconds: list[float] = []
    for _ in range(8):  # the first is a warm-up
        begun = time.perf_counter()
        torch.mm(left, right)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / median(seconds[1:])
