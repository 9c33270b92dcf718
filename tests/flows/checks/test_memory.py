"""Devices that cannot run the training: a problem where it is certain to run on them, a warning elsewhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from figa_core.training.device_memory import Devices
from flows.checks.facts import Facts
from flows.checks.memory import check_memory, findings

from .conftest import MakeFacts

SMALL = Devices("cpu", 1, 10**6, 10**6)


@pytest.fixture
def model(facts: MakeFacts, tmp_path: Path) -> MakeFacts:
    """Facts of a config whose model has half a million parameters."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"hidden_size": 8, "vocab_size": 8, "num_hidden_layers": 1}))
    save_file({"w": np.zeros((500, 1000), dtype=np.float32)}, base / "model.safetensors")
    return facts


def here(facts: Facts, devices: Devices) -> list[str]:
    return [str(found) for found in findings(facts, devices, here=True) if found.is_problem]


def test_a_model_that_is_too_large_for_this_machine_is_refused_before_the_run(model: MakeFacts) -> None:
    [found] = here(model(), SMALL)
    assert found.startswith("training: the model is too large for this machine's memory of 1 MB")


def test_where_the_training_may_run_elsewhere_it_is_a_warning(model: MakeFacts) -> None:
    [found] = findings(model(), SMALL, here=False)
    assert not found.is_problem
    assert "here it will be refused: the model is too large" in str(found)


def test_weights_of_four_bits_need_a_gpu(model: MakeFacts) -> None:
    quantized = {"lora": {"rank": 4, "quantize": True}}
    [found] = here(model(training=quantized), Devices("cpu", 1, 10**12, 10**12))
    assert found.startswith("training.lora.quantize: 4-bit weights need an NVIDIA GPU")
    assert here(model(training=quantized), Devices("gpu", 1, 10**12, 10**12)) == []


def test_a_plan_is_made_for_any_machine(model: MakeFacts) -> None:
    facts = model(training={"lora": {"rank": 4, "quantize": True}})
    assert all(found.is_problem for found in check_memory(facts))
    facts.planning = True
    assert not any(found.is_problem for found in check_memory(facts))


def test_more_ranks_than_gpus_are_a_problem_before_the_run(model: MakeFacts) -> None:
    [found] = here(model(training={"processes": 4}), Devices("gpu", 2, 10**12, 10**12))
    assert found.startswith("training: training.processes is 4, each rank needs a GPU of its own, and this")
    assert here(model(training={"processes": 2}), Devices("gpu", 2, 10**12, 10**12)) == []
