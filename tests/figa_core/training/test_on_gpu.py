"""On a GPU a training has the losses of the CPU, and its kernels keep packed sequences apart."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from figa_core.config import LoraConfig
from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.errors import TrainingError
from figa_core.training import stop, varlen
from figa_core.training.attention import use_packed_attention
from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from figa_core.training.sharing import problem_with_model
from tests.figa_core.training.jobs import MakeJob, changed, training_job

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
GPU = torch.device("cuda", 0)
ROUNDING = {"float32": 1e-4, "bfloat16": 0.05}
LENGTHS = (300, 17, 150, 1, 222)
SIZES: dict[str, Any] = {
    "vocab_size": 997,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
}


def train(job: TrainingJob, *, stop_at: int | None = None) -> tuple[TrainingManifest, list[StepMetrics]]:
    def stop_there(metrics: StepMetrics) -> None:
        if metrics.step == stop_at:
            stop.ask(job.output)

    result = run_training(job, on_step=stop_there, log_path=job.output.with_suffix(".log"))
    return result, list(read_metrics(job.metrics_path))


def train_on_the_cpu(job: TrainingJob) -> list[StepMetrics]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        return train(job)[1]


@pytest.fixture(scope="module")
def on_the_cpu(
    model_dir: Path, shards_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[StepMetrics]:
    output = tmp_path_factory.mktemp("cpu") / "training"
    return train_on_the_cpu(training_job(model_dir, shards_dir, output, processes=1))


def assert_losses(found: list[StepMetrics], expected: list[StepMetrics], rounding: float) -> None:
    largest = max(abs(step.loss) for step in expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert abs(ours.loss - theirs.loss) <= rounding * largest, ours.step


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_a_training_has_the_losses_of_the_cpu(
    make_job: MakeJob,
    on_the_cpu: list[StepMetrics],
    caplog: pytest.LogCaptureFixture,
    dtype: str,
    zero_stage: int,
) -> None:
    caplog.set_level(logging.INFO, logger="figa_core")
    job = make_job(dtype=dtype, zero_stage=zero_stage)
    result, steps = train(job)
    assert result.overflowed_steps == result.skipped_steps == 0
    assert_losses(steps, on_the_cpu, ROUNDING[dtype])
    assert any("(cuda)" in message for message in caplog.messages)
    model = LlamaForCausalLM.from_pretrained(job.model_dir)
    assert all(bool(torch.isfinite(weight).all()) for weight in model.parameters())


def offload(*parts: str) -> DeepSpeedConfig:
    return DeepSpeedConfig(zero_optimization={part: {"device": "cpu"} for part in parts})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "levers",
    [
        {"activation_checkpointing": "auto"},
        {"activation_checkpointing": False},
        {"zero_stage": 2, "deepspeed": offload("offload_optimizer")},
        {"zero_stage": 3, "deepspeed": offload("offload_optimizer")},
        {"zero_stage": 3, "deepspeed": offload("offload_param")},
        {"zero_stage": 3, "deepspeed": offload("offload_optimizer", "offload_param")},
    ],
    ids=["recomputed", "kept", "optimizer-zero2", "optimizer-zero3", "weights", "optimizer-and-weights"],
)
def test_what_saves_memory_leaves_the_losses_alone(
    make_job: MakeJob,
    on_the_cpu: list[StepMetrics],
    caplog: pytest.LogCaptureFixture,
    dtype: str,
    levers: dict[str, Any],
) -> None:
    caplog.set_level(logging.INFO, logger="figa_core")
    _, steps = train(make_job(dtype=dtype, **levers))
    assert_losses(steps, on_the_cpu, ROUNDING[dtype])
    recomputed = "with activations computed again" in caplog.text
    assert recomputed is (levers.get("activation_checkpointing", "auto") == "auto")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_lora_has_the_losses_of_the_cpu(
    make_job: MakeJob, tmp_path: Path, dtype: str, zero_stage: int
) -> None:
    job = make_job(dtype=dtype, zero_stage=zero_stage, lora=LoraConfig(rank=4))
    expected = train_on_the_cpu(changed(job, output=tmp_path / "cpu", dtype="float32"))
    assert_losses(train(job)[1], expected, ROUNDING[dtype])
    assert (job.model_dir / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("recompute", ["auto", False])
@pytest.mark.parametrize("zero_stage", [1, 2])
def test_qlora_begins_near_the_whole_weights_and_learns(
    make_job: MakeJob, on_the_cpu: list[StepMetrics], zero_stage: int, recompute: object
) -> None:
    pytest.importorskip("bitsandbytes")
    lora = LoraConfig(rank=4, quantize=True)
    job = make_job(dtype="bfloat16", zero_stage=zero_stage, lora=lora, activation_checkpointing=recompute)
    result, steps = train(job)
    assert result.overflowed_steps == result.skipped_steps == 0
    largest = max(abs(step.loss) for step in on_the_cpu)
    assert abs(steps[0].loss - on_the_cpu[0].loss) <= 0.2 * largest, "4 bits round the weights"
    first, last = steps[0].figures["positive_nll"], steps[-1].figures["positive_nll"]
    assert first is not None
    assert last is not None
    assert last < first


@pytest.mark.parametrize(
    ("dtype", "zero_stage"), [("float32", 2), ("float32", 3), ("bfloat16", 2), ("bfloat16", 3)]
)
def test_a_stopped_training_resumes_to_the_same_losses(
    make_job: MakeJob, tmp_path: Path, dtype: str, zero_stage: int
) -> None:
    stopped = make_job(dtype=dtype, zero_stage=zero_stage)
    _, whole = train(changed(stopped, output=tmp_path / "whole"))
    with pytest.raises(TrainingError, match="without a result"):
        train(stopped, stop_at=15)
    _, resumed = train(stopped)
    assert [step.step for step in resumed] == [step.step for step in whole]
    assert_losses(resumed, whole, ROUNDING[dtype])  # a GPU adds in another order each time


def test_more_ranks_than_gpus_are_an_error(make_job: MakeJob) -> None:
    ranks = torch.cuda.device_count() + 1
    with pytest.raises(TrainingError, match="each rank needs a GPU of its own"):
        train(make_job(processes=ranks))


@pytest.mark.parametrize("tree", [False, True])
def test_the_variable_length_kernel_equals_attention_with_a_mask(tree: bool) -> None:
    """`tree`: also for pieces with more keys than queries, aligned at the lower right."""
    assert varlen.problem_with_device(GPU, tree=tree) is None


def test_a_model_in_float32_can_share_beginnings() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    assert use_packed_attention(model)
    model.to(GPU)  # pyright: ignore[reportArgumentType]
    assert problem_with_model(model) is None


def sequences() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(997, (1, length), generator=generator).to(GPU) for length in LENGTHS]


def packed(model: Any, ids: list[torch.Tensor]) -> torch.Tensor:
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None].to(GPU)
    return model(
        input_ids=torch.cat(ids, dim=1), position_ids=positions, use_cache=False, piece_lengths=LENGTHS
    ).logits


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    ours, theirs = ours.detach().float(), theirs.detach().float()
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("window", [None, 64])
def test_packed_sequences_have_the_logits_and_gradients_of_each_alone(
    dtype: torch.dtype, rounding: float, window: int | None
) -> None:
    torch.manual_seed(0)
    model: Any = (
        LlamaForCausalLM(LlamaConfig(**SIZES))
        if window is None
        else MistralForCausalLM(MistralConfig(**SIZES, sliding_window=window))
    )
    assert use_packed_attention(model)
    model.to(GPU, dtype)
    ids = sequences()
    alone = torch.cat([model(input_ids=i, use_cache=False).logits for i in ids], dim=1)
    both = [packed(model, ids), alone]
    assert difference(*both) <= rounding
    gradients: list[tuple[torch.Tensor, ...]] = []
    for logits in both:
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2)).to(GPU)
        gradients.append(torch.autograd.grad((logits.float() * weights).sum(), list(model.parameters())))
    for ours, theirs in zip(*gradients, strict=True):
        assert difference(ours, theirs) <= rounding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_changed_sequence_does_not_change_its_neighbours(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(**SIZES))
    assert use_packed_attention(model)
    model.to(GPU, dtype)
    first, *others = sequences()
    with torch.no_grad():
        before, after = packed(model, [first, *others]), packed(model, [(first + 1) % 997, *others])
    torch.testing.assert_close(after[:, LENGTHS[0] :], before[:, LENGTHS[0] :])
    assert not torch.allclose(after[:, : LENGTHS[0]], before[:, : LENGTHS[0]])


def test_the_error_for_a_full_gpu_names_the_settings_to_change(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "per_process_memory_fraction:0.00002")
    with pytest.raises(TrainingError, match=r"the GPU's memory is full\. Lower training\.tokens_per_batch"):
        train(make_job())
