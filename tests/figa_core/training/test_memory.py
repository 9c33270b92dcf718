"""A full GPU is told with what to change."""

from pathlib import Path

import pytest
import torch

from figa_core.errors import TrainingError
from figa_core.training.memory import full_memory
from tests.figa_core.training.jobs import gradient_job

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of 23.6 GiB"


@pytest.mark.parametrize(
    ("changes", "has", "lacks"),
    [
        ({"dtype": "float32", "zero_stage": 2}, ("bfloat16", "zero_stage 3"), ()),
        ({"dtype": "bfloat16", "zero_stage": 3}, (), ("bfloat16", "zero_stage 3")),
    ],
)
def test_the_remedies_are_those_that_are_not_in_use(
    changes: dict[str, object], has: tuple[str, ...], lacks: tuple[str, ...]
) -> None:
    job = gradient_job(Path("model"), Path("shards"), "training", **changes, tokens_per_batch=16_384)
    error = full_memory(torch.OutOfMemoryError(SAID), job)
    assert isinstance(error, TrainingError)
    text = str(error)
    assert text.startswith("the GPU's memory is full. Lower training.tokens_per_batch (now 16,384)")
    assert "Tried to allocate 2.00 GiB. GPU 0 has" in text
    assert all(word in text for word in has)
    assert not any(word in text for word in lacks)


def test_other_errors_are_left_as_they_are() -> None:
    job = gradient_job(Path("model"), Path("shards"), "training")
    assert full_memory(RuntimeError("CUDA error: device-side assert triggered"), job) is None
