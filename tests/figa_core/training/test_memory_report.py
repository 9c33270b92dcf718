"""The plan in words, and which trainings are refused."""

from pathlib import Path

import pytest

from figa_core.config.training import TrainingConfig
from figa_core.errors import TrainingError
from figa_core.training import launch
from figa_core.training.device_memory import Devices, gpus_of
from figa_core.training.memory_report import TrainingMemory
from tests.figa_core.training.jobs import MakeJob

TRAINING = TrainingConfig(dtype="float32", zero_stage=3, processes=2)


def memory(model: Path, devices: Devices, training: TrainingConfig = TRAINING) -> TrainingMemory:
    return TrainingMemory(training, model, devices)


def test_the_plan_names_every_part_and_says_that_it_fits(model_dir: Path) -> None:
    found = memory(model_dir, gpus_of(80, 2))
    text = " ".join(found.lines())
    for part in ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "process"):
        assert f"{part} " in text
    for words in ("parameters: each of 2 ranks", "ZeRO-3", "8,192 tokens", "computed again", "checkpoint"):
        assert words in text
    assert text.endswith("It fits into a GPU of 80 GB.")
    assert (found.problem(), found.warning()) == (None, None)


def test_the_ranks_of_a_node_share_its_memory_and_no_other(model_dir: Path) -> None:
    devices = Devices("cpu", 1, 10**9, 10**9)
    of_two = memory(model_dir, devices, TRAINING.model_copy(update={"nodes": 2}))
    assert of_two.setup.ranks == 4
    assert of_two.setup.ranks_of_node == 2
    assert "this machine's memory of 1 GB, which 2 ranks share" in " ".join(of_two.lines())


def test_a_plan_beyond_the_devices_says_what_to_change(model_dir: Path) -> None:
    found = memory(model_dir, gpus_of(1.02, 2))
    assert not found.fits
    assert found.problem() is None, "what is certain fits"
    warning = found.warning()
    assert warning is not None
    assert "may need more memory than a GPU of 1.02 GB has free" in warning
    assert "It would with training.tokens_per_batch = " in warning


def test_what_is_held_whatever_the_data_decides_about_a_refusal(model_dir: Path) -> None:
    held = memory(model_dir, gpus_of(1, 2)).plan.device.least
    assert memory(model_dir, Devices("gpu", 1, held, 0)).problem() is None
    problem = memory(model_dir, Devices("gpu", 1, held - 1, held)).problem()
    assert problem is not None
    assert problem.startswith("the model is too large for a GPU of ")
    # On the CPU the ranks share the memory.
    shared = memory(model_dir, Devices("cpu", 1, 2 * held - 1, 2 * held - 1)).problem()
    assert shared is not None
    assert "which 2 ranks share" in shared


def test_gpus_of_unknown_memory_refuse_nothing(model_dir: Path) -> None:
    found = memory(model_dir, Devices("gpu", 0, 0, 0))
    assert (found.problem(), found.warning()) == (None, None)
    assert "--device-gb" in list(found.lines())[-1]


def test_a_training_that_cannot_fit_is_refused_with_the_plan_before_it_is_loaded(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "devices_here", lambda: gpus_of(0.0001, 1))
    job = make_job()
    with pytest.raises(
        TrainingError, match=r"too large for a GPU of 0\.1 MB\. .* parameters: one rank needs"
    ):
        launch.run_training(job, log_path=tmp_path / "log")
    assert not (tmp_path / "log").exists()
    assert not job.output.exists() or not list(job.output.glob("*.json"))
