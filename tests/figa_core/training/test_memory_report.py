"""The plan in words, and which trainings are refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.config.training import TrainingConfig
from figa_core.errors import TrainingError
from figa_core.records import EditClass, WeighedPair
from figa_core.training import launch
from figa_core.training.device_memory import Devices, gpus_of
from figa_core.training.memory_report import TrainingMemory
from figa_core.training.weighted_tokens import most_weighted_tokens
from tests.figa_core.training.jobs import MakeJob, write_set

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
    assert memory(model_dir, Devices("gpu", 2, held, 0)).problem() is None
    problem = memory(model_dir, Devices("gpu", 2, held - 1, held)).problem()
    assert problem is not None
    assert problem.startswith("the model is too large for a GPU of ")
    # On the CPU the ranks share the memory.
    shared = memory(model_dir, Devices("cpu", 1, 2 * held - 1, 2 * held - 1)).problem()
    assert shared is not None
    assert "which 2 ranks share" in shared


def test_the_machine_must_hold_what_all_its_ranks_offload_and_load(model_dir: Path) -> None:
    offload = {"offload_optimizer": {"device": "cpu"}}
    training = TRAINING.model_copy(update={"deepspeed": DeepSpeedConfig(zero_optimization=offload)})
    plan = memory(model_dir, gpus_of(80, 2), training).plan
    held = 2 * max(plan.host, plan.loading)

    def on_a_machine(total: int, free: int) -> TrainingMemory:
        devices = replace(gpus_of(80, 2), host_total=total, host_free=free)
        return memory(model_dir, devices, training)

    assert (on_a_machine(held, held).problem(), on_a_machine(held, held).warning()) == (None, None)
    problem = on_a_machine(held - 1, held - 1).problem()
    assert problem is not None
    assert problem.startswith("the model is too large for this machine's memory of ")
    assert ", which 2 ranks share. " in problem
    warning = on_a_machine(held, held - 1).warning()
    assert warning is not None
    assert "may need more memory than this machine's memory of" in warning
    assert "It fits into a GPU of 80 GB and this machine's memory" in warning


def test_weights_that_stay_in_the_pages_of_their_file_refuse_nothing(model_dir: Path) -> None:
    """The model is stored in float32."""
    whole = TrainingConfig(dtype="float32", zero_stage=2, processes=2)
    devices = replace(gpus_of(80, 2), host_total=1000, host_free=1000)
    assert memory(model_dir, devices, whole).problem() is None
    assert memory(model_dir, devices, whole).warning() is not None
    rounded = whole.model_copy(update={"dtype": "bfloat16"})
    assert memory(model_dir, devices, rounded).problem() is not None


def test_more_ranks_than_gpus_are_refused_before_anything_is_paid_for(model_dir: Path) -> None:
    found = memory(model_dir, gpus_of(80, 1))
    problem = found.problem()
    assert problem is not None
    assert problem.startswith("training.processes is 2, each rank needs a GPU of its own, and this machine")
    assert list(found.lines())[-1].startswith("It cannot run here: training.processes is 2")
    assert memory(model_dir, gpus_of(80, 1), TRAINING.model_copy(update={"processes": 1})).problem() is None


def test_the_logits_are_those_of_the_shards_where_they_are_known(model_dir: Path, make_job: MakeJob) -> None:
    assert "so many, if every token counts." in " ".join(memory(model_dir, gpus_of(80, 2)).lines())
    job = make_job(processes=2, tokens_per_batch=70)
    tokens = most_weighted_tokens(job)
    assert tokens is not None
    assert 0 < tokens < 70
    found = TrainingMemory(job.training, job.model, gpus_of(80, 2), weighted_tokens=tokens)
    assert (
        f"The logits are of {tokens / 70:.0%} of the tokens, the most in the first steps of the"
        in " ".join(found.lines())
    )
    of_others = make_job(objective="coh")
    assert most_weighted_tokens(of_others) is None


def test_pairs_without_any_weight_have_no_logits(
    make_job: MakeJob, pairs: list[WeighedPair], tmp_path: Path
) -> None:
    none = [
        replace(
            pair,
            response_classes=(EditClass.UNIMPORTANT,) * len(pair.response_ids),
            revision_classes=(EditClass.UNIMPORTANT,) * len(pair.revision_ids),
        )
        for pair in pairs
    ]
    (tmp_path / "shards").mkdir()
    write_set(tmp_path / "shards", none)
    assert most_weighted_tokens(make_job(shards=tmp_path / "shards")) == 0


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
