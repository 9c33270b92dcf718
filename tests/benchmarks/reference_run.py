"""The reference recipe as a contender."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from tests.benchmarks.bare_pairs import BarePair, read_steps
from tests.benchmarks.flops import row_flops
from tests.benchmarks.measure import MemoryWatch, Outcome, Step, finished_clock
from tests.benchmarks.reference_recipe import PAIRS_PER_BATCH, Settings, train_step
from tests.benchmarks.spec import WARM_UP, Spec

_WARM_UP_PAIRS = 2


def run(spec: Spec) -> Outcome:
    """Train the spec's steps in a plain loop."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # On CUDA everything is in bf16, without the fp32 masters that ours keeps: its cheapest form.
    dtype = torch.bfloat16 if spec.bfloat16 else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(spec.model, dtype=dtype, local_files_only=True)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0, fused=True)
    settings = Settings(spec.alpha, spec.beta, spec.negative_nll_max, spec.python_loops)
    data = read_steps(Path(spec.pairs))[: spec.steps + WARM_UP]
    if device.type == "cpu":
        # Enough to create the optimizer's state and the threads; a whole step takes up to a minute.
        data[:WARM_UP] = [pairs[:_WARM_UP_PAIRS] for pairs in data[:WARM_UP]]
    watch = MemoryWatch()
    steps: list[Step] = []
    for pairs in data:
        begun = finished_clock()
        train_step(model, optimizer, pairs, settings, device)
        seconds = finished_clock() - begun
        steps.append(Step(seconds, len(pairs), padded_flops(spec, pairs)))
    return watch.outcome(steps[WARM_UP:])


def padded_flops(spec: Spec, pairs: Sequence[BarePair]) -> float:
    """The FLOPs of the padded recipe for a step's pairs."""
    total = 0.0
    for first in range(0, len(pairs), PAIRS_PER_BATCH):
        batch = pairs[first : first + PAIRS_PER_BATCH]
        longest = max(len(p.prompt_ids) + max(len(p.response_ids), len(p.revision_ids)) for p in batch)
        row = row_flops(spec.shape, spec.vocabulary, tokens=longest, projected=longest)
        total += 2 * len(batch) * row
    return total
