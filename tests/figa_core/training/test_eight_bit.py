"""bitsandbytes' AdamW with moments of 8 bits: what it needs, how it is stored, how near AdamW it trains."""

from pathlib import Path
from typing import Any

import bitsandbytes.functional
import pytest
import torch
from bitsandbytes.optim.adamw import AdamW8bit
from safetensors.torch import load_file

from figa_core.config import LoraConfig, OptimizerConfig, ScheduleConfig, TrainingConfig
from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training.bitsandbytes_adam import not_installed, offloaded_to_disk
from figa_core.training.eight_bit import Coded, decoded, encoded
from figa_core.training.launch import run_training
from figa_core.training.metrics import read_metrics
from figa_core.training.optimizers import optimizer_of
from tests.figa_core.training.jobs import MakeJob, gradient_job, gradient_output, run_gradient_jobs
from tests.figa_core.training.plain_torch import train_plainly

IN_8_BITS = OptimizerConfig(
    kind="adamw_8bit", beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=0.5, gradient_norm_max=0.5
)


def test_it_needs_its_library() -> None:
    assert not_installed(TrainingConfig(), "no_such_library") is None
    assert not_installed(TrainingConfig(optimizer=IN_8_BITS)) is None
    problem = not_installed(TrainingConfig(optimizer=IN_8_BITS), "no_such_library")
    assert problem is not None
    assert "not installed here. Install it: pip install 'figa[bitsandbytes]', or use adamw." in problem


def offloaded_to(device: str) -> DeepSpeedConfig:
    return DeepSpeedConfig(zero_optimization={"offload_optimizer": {"device": device, "nvme_path": "/fast"}})


def test_its_states_cannot_be_offloaded_to_disk(make_job: MakeJob, tmp_path: Path) -> None:
    assert offloaded_to_disk(TrainingConfig(optimizer=IN_8_BITS)) is None
    assert offloaded_to_disk(TrainingConfig(optimizer=IN_8_BITS, deepspeed=offloaded_to("cpu"))) is None
    assert offloaded_to_disk(TrainingConfig(deepspeed=offloaded_to("nvme"))) is None
    job = make_job(optimizer=IN_8_BITS, zero_stage=3, deepspeed=offloaded_to("nvme"))
    with pytest.raises(TrainingError, match="adamw_8bit has states that DeepSpeed cannot keep on disk"):
        run_training(job, log_path=tmp_path / "log")


def test_it_has_the_settings() -> None:
    group = {"params": [torch.nn.Parameter(torch.zeros(2))], "weight_decay": 0.1}
    optimizer = optimizer_of(IN_8_BITS)([group], 3e-4)
    assert isinstance(optimizer, AdamW8bit)
    [made] = optimizer.param_groups
    assert (made["betas"], made["eps"], made["lr"]) == ((0.8, 0.95), 1e-6, 3e-4)
    assert made["weight_decay"] == 0.1


def states_after_steps(weights: int) -> dict[str, Any]:
    """As `state_dict` gives them."""
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(weights))
    optimizer = optimizer_of(IN_8_BITS)([{"params": [parameter], "weight_decay": 0.0}], 1e-3)
    for _ in range(3):
        parameter.grad = torch.randn(weights)
        optimizer.step()
    return optimizer.state_dict()["state"][0]


def test_any_part_of_its_moments_is_decoded_as_the_library_does_it() -> None:
    stored = states_after_steps(5000)
    found = decoded(stored)
    assert found.keys() == {"step", "state1", "state2"}
    [nested] = [value for value in stored.values() if isinstance(value, dict)]
    for number in "12":
        coded = found[f"state{number}"]
        assert isinstance(coded, Coded)
        assert len(coded) == 5000
        expected = bitsandbytes.functional.dequantize_blockwise(
            nested[f"state{number}"],
            code=nested[f"qmap{number}"],
            absmax=nested[f"absmax{number}"],
            blocksize=256,
        )
        assert float(expected.abs().max()) > 0
        for start, length in ((0, 5000), (255, 2), (4998, 2), (700, 1000)):
            assert torch.equal(coded.narrow(0, start, length), expected[start : start + length])


def test_encoded_again_they_are_the_same_to_8_bits_and_the_optimizer_takes_them() -> None:
    first = decoded(states_after_steps(5000))
    numbers = {**first, **{name: first[name].narrow(0, 0, 5000) for name in ("state1", "state2")}}
    stored = encoded(numbers)
    again = decoded(stored)
    for name in ("state1", "state2"):
        difference = (again[name].narrow(0, 0, 5000) - numbers[name]).abs().max()
        assert float(difference) <= 0.02 * float(numbers[name].abs().max())
    parameter = torch.nn.Parameter(torch.randn(5000))
    optimizer = optimizer_of(IN_8_BITS)([{"params": [parameter], "weight_decay": 0.0}], 1e-3)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: stored}})
    parameter.grad = torch.randn(5000)
    optimizer.step()
    assert optimizer.state[parameter]["step"] == 4


def test_the_moments_of_few_weights_and_of_other_optimizers_are_left_as_they_are() -> None:
    few = decoded(states_after_steps(100))
    assert few["state1"].dtype == torch.float32
    assert encoded(few) is few
    other = {"exp_avg": torch.zeros(5000), "step": torch.tensor(3.0)}
    assert decoded(other) == other
    assert encoded(other) is other


LAYOUTS: dict[str, dict[str, object]] = {
    **{f"zero{stage}": {"zero_stage": stage} for stage in (1, 2, 3)},
    "bf16-zero3": {"zero_stage": 3, "dtype": "bfloat16"},
    "offloaded": {"deepspeed": offloaded_to("cpu")},
    "resumed-zero2": {"checkpoint_steps": 3},
    "resumed-zero3": {"checkpoint_steps": 3, "zero_stage": 3},
    "lora": {"lora": LoraConfig(rank=16)},
}


@pytest.mark.distributed
@pytest.mark.slow
def test_ranks_train_with_it_almost_as_with_adamw(
    tmp_path: Path, model_dir: Path, shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    of_all = {"optimizer": IN_8_BITS, "schedule": ScheduleConfig(kind="linear"), "processes": 2}
    how: dict[str, object] = {**of_all, "learning_rate": 1e-3, "steps": 5}
    jobs = {
        name: gradient_job(model_dir, shards_dir, name, **{**how, **changes})
        for name, changes in LAYOUTS.items()
    }
    run_gradient_jobs(tmp_path, jobs.values())
    found = {
        name: load_file(gradient_output(tmp_path, job).with_suffix(".safetensors"))
        for name, job in jobs.items()
    }
    for name in jobs:
        expected, norms = train_plainly(jobs[name], pairs)
        assert distance(found[name], expected) < (0.2 if "bf16" in name else 0.05), name
        seen = [
            step.grad_norm for step in read_metrics(gradient_output(tmp_path, jobs[name]) / "metrics.jsonl")
        ]
        assert seen == pytest.approx(norms, rel=0.05), name
    for stage in (2, 3):
        assert distance(found[f"resumed-zero{stage}"], found[f"zero{stage}"]) < 1e-6


def distance(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Of two changes of all weights, as a share of the second."""
    assert found.keys() == expected.keys()
    whole = torch.cat([expected[name].flatten() for name in expected])
    return float((torch.cat([found[name].flatten() for name in expected]) - whole).norm() / whole.norm())
