"""Real ranks under torchrun: their gradients are correct, and a killed training resumes to equal weights."""

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from figa_core.config import LoraConfig, OptimizerConfig, ScheduleConfig
from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training.batches import step_pairs
from figa_core.training.job import Levers, TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from tasks.report import curve_of
from tests.figa_core.training.jobs import (
    STEPS,
    Finished,
    MakeJob,
    assert_gradients,
    gradient_job,
    gradient_output,
    launcher_of,
    ranks_of,
    run_gradient_jobs,
    wait_until,
)
from tests.figa_core.training.oracle import oracle, settings_of
from tests.figa_core.training.plain_torch import train_plainly

pytestmark = pytest.mark.distributed

# Token budgets that make one, two and three micro-batches of the nine pairs on one rank.
ACCUMULATION = {1: 4096, 2: 220, 3: 150}
VARIANTS: dict[str, dict[str, object]] = {
    **{f"zero{stage}": {"zero_stage": stage} for stage in (1, 2, 3)},
    **{f"zero{stage}-one-rank": {"zero_stage": stage, "processes": 1} for stage in (1, 2, 3)},
    **{
        f"accumulation-{count}": {"tokens_per_batch": budget, "processes": 1, "levers": Levers(packing=True)}
        for count, budget in ACCUMULATION.items()
    },
    **{
        f"recomputed-zero{stage}": {
            "zero_stage": stage,
            "activation_checkpointing": True,
            "levers": Levers(packing=True),
        }
        for stage in (2, 3)
    },
    "recomputed-rows": {"activation_checkpointing": True, "processes": 1},
    "one-micro-batch": {"tokens_per_batch": 4096},
    "packed": {"levers": Levers(packing=True)},
    "packed-zero3": {"levers": Levers(packing=True), "zero_stage": 3},
    "full-head": {"levers": Levers(sparse_head=False)},
    "full-head-zero3": {"levers": Levers(sparse_head=False), "zero_stage": 3},
    "uncut": {"levers": Levers(tail_cut=False)},
    "no-lever": {"levers": Levers(sparse_head=False, tail_cut=False, packing=False), "zero_stage": 1},
    "fewer-pairs-than-ranks": {"pairs_per_step": 1, "tokens_per_batch": 64},
    "no-gamma": {"gamma": 0.0, "negative_nll_max": None},
    "unlikelihood": {"objective": "unlikelihood"},
    "sft": {"objective": "sft"},
    "sft-revised": {"objective": "sft_revised"},
}
# Trainings of several steps: how their learning rate and optimizer are set, on some ranks.
EVERYTHING = {
    "schedule": ScheduleConfig(kind="cosine", warmup_share=0.3),
    "optimizer": OptimizerConfig(
        beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=0.5, gradient_norm_max=0.5
    ),
}
TRAININGS: dict[str, dict[str, object]] = {
    **{
        f"all-zero{stage}-{ranks}": {**EVERYTHING, "zero_stage": stage, "processes": ranks}
        for stage in (1, 2, 3)
        for ranks in (1, 2)
    },
    **{
        f"offload-zero{stage}": {
            **EVERYTHING,
            "zero_stage": stage,
            "deepspeed": DeepSpeedConfig(
                zero_optimization={"offload_optimizer": {"device": "cpu"}, "reduce_bucket_size": 10_000}
            ),
        }
        for stage in (2, 3)
    },
    "offload-weights": {
        **EVERYTHING,
        "zero_stage": 3,
        "checkpoint_steps": 3,
        "deepspeed": DeepSpeedConfig(
            zero_optimization={"offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}
        ),
    },
    "linear": {"schedule": ScheduleConfig(kind="linear", warmup_share=0.3)},
    "warm-up": {"schedule": ScheduleConfig(warmup_share=0.5)},
    "decay": {"optimizer": OptimizerConfig(weight_decay=0.5)},
    "clipped": {"optimizer": OptimizerConfig(gradient_norm_max=0.5), "levers": Levers(packing=True)},
    "epsilon": {"optimizer": OptimizerConfig(epsilon=1e-3)},
    **{
        f"lora-zero{stage}": {**EVERYTHING, "lora": LoraConfig(rank=4), "zero_stage": stage}
        for stage in (1, 2, 3)
    },
    "lora-resumed": {**EVERYTHING, "lora": LoraConfig(rank=4), "checkpoint_steps": 3},
    "lora-resumed-zero3": {"lora": LoraConfig(rank=4), "checkpoint_steps": 3, "zero_stage": 3},
    "qlora-resumed": {
        **EVERYTHING,
        "lora": LoraConfig(rank=4, quantize=True),
        "checkpoint_steps": 3,
        "activation_checkpointing": True,
    },
    "lora-packed": {
        "lora": LoraConfig(rank=4),
        "processes": 1,
        "activation_checkpointing": True,
        "levers": Levers(packing=True),
    },
}


def training_of(model_dir: Path, shards_dir: Path, name: str) -> TrainingJob:
    of_all = {"learning_rate": 1e-3, "steps": 5, "processes": 2}
    return gradient_job(model_dir, shards_dir, name, **{**of_all, **TRAININGS[name]})


@pytest.fixture(scope="session")
def rank_gradients(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, shards_dir: Path) -> Path:
    directory = tmp_path_factory.mktemp("gradients")
    jobs = [gradient_job(model_dir, shards_dir, name, **changes) for name, changes in VARIANTS.items()]
    run_gradient_jobs(directory, [*jobs, *(training_of(model_dir, shards_dir, name) for name in TRAININGS)])
    return directory


@pytest.mark.parametrize("name", VARIANTS)
def test_ranks_have_the_gradient_of_the_formula(
    name: str, rank_gradients: Path, model_dir: Path, shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    job = gradient_job(model_dir, shards_dir, name, **VARIANTS[name])
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    chosen = step_pairs(1, pairs=len(pairs), pairs_per_step=job.pairs_per_step, seed=job.training.seed)
    mean_scale = sum(pair.scale for pair in pairs) / len(pairs)
    step = oracle(model, [pairs[pair] for pair in chosen], settings_of(job), mean_scale)
    assert step.nearest_to_gate > 1e-3
    step.loss.backward()
    output = gradient_output(rank_gradients, job)
    (metrics,) = read_metrics(output / "metrics.jsonl")
    assert metrics.counted == step.counted
    assert metrics.loss == pytest.approx(float(step.loss.detach()), abs=1e-5)
    assert metrics.figures["positive_nll"] == pytest.approx(step.positive_nll, abs=1e-5)
    assert_gradients(output, model, 1e-5)


@pytest.mark.parametrize("name", TRAININGS)
def test_ranks_train_as_pytorch_does(
    name: str, rank_gradients: Path, model_dir: Path, shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    job = training_of(model_dir, shards_dir, name)
    expected, norms = train_plainly(job, pairs)
    output = gradient_output(rank_gradients, job)
    found = load_file(output.with_suffix(".safetensors"))
    assert found.keys() == expected.keys()
    moved = torch.cat([expected[weight].flatten() for weight in expected])
    differences = torch.cat([(found[weight] - expected[weight]).flatten() for weight in expected])
    assert float(differences.norm()) <= 1e-4 * float(moved.norm())
    metrics = read_metrics(output / "metrics.jsonl")
    assert [step.learning_rate for step in metrics] == [job.learning_rate_at(n) for n in range(1, 6)]
    assert [step.grad_norm for step in metrics] == pytest.approx(norms, rel=1e-4)
    drawn = curve_of(output, job.objective).series.get("learning rate")
    assert drawn == (tuple(step.learning_rate for step in metrics) if "schedule" in TRAININGS[name] else None)


def micro_batches(directory: Path, ranks: int, name: str) -> int:
    with safe_open(directory / str(ranks) / f"{name}.safetensors", "pt") as file:
        return int(file.metadata()["micro_batches"])


def test_the_variants_have_the_number_of_micro_batches_in_their_name(rank_gradients: Path) -> None:
    assert micro_batches(rank_gradients, 2, "zero2") >= 3
    assert micro_batches(rank_gradients, 2, "one-micro-batch") == 1
    for count in ACCUMULATION:
        assert micro_batches(rank_gradients, 1, f"accumulation-{count}") == count


def test_a_training_reports_every_step_once_and_lowers_the_nll(finished: Finished) -> None:
    job, result, seen = finished
    assert [metrics.step for metrics in seen] == list(range(1, STEPS + 1))
    assert list(read_metrics(job.metrics_path)) == seen
    first, last = seen[0].figures["positive_nll"], seen[-1].figures["positive_nll"]
    assert first is not None
    assert last is not None
    assert last < first - 1
    assert result.peak_rss_bytes > 100 * 2**20


def test_the_exported_model_loads_with_its_tokenizer_and_has_changed(
    finished: Finished, model_dir: Path
) -> None:
    job, _, _ = finished
    trained = AutoModelForCausalLM.from_pretrained(job.model_dir)
    base = AutoModelForCausalLM.from_pretrained(model_dir)
    assert trained.state_dict().keys() == base.state_dict().keys()
    assert not torch.equal(trained.lm_head.weight, base.lm_head.weight)
    assert torch.equal(trained.lm_head.weight, trained.model.embed_tokens.weight)
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (job.model_dir / name).read_bytes() == (model_dir / name).read_bytes()


def test_a_finished_training_is_returned_without_running(finished: Finished, tmp_path: Path) -> None:
    job, result, _ = finished
    assert run_training(job, log_path=tmp_path / "log") == result
    assert not (tmp_path / "log").exists()


def test_a_killed_training_leaves_no_orphan_and_resumes_to_the_same_weights(
    finished: Finished, make_job: MakeJob, tmp_path: Path
) -> None:
    undisturbed, _, seen = finished
    job = make_job(processes=2)

    def kill_midway(metrics: StepMetrics) -> None:
        if metrics.step == 15:
            os.kill(launcher_of(job).pid, signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"killed\.log"):
        run_training(job, on_step=kill_midway, log_path=tmp_path / "killed.log")
    assert wait_until(lambda: not ranks_of(job), 5), ranks_of(job)
    assert not (job.output / "manifest.json").exists()
    assert list((job.output / "checkpoints").glob("step-*/whole.json"))
    run_training(job, log_path=tmp_path / "resumed.log")

    metrics = list(read_metrics(job.metrics_path))
    assert [m.step for m in metrics] == list(range(1, STEPS + 1))
    assert [m.loss for m in metrics] == pytest.approx([m.loss for m in seen], abs=1e-5)
    expected = load_file(undisturbed.model_dir / "model.safetensors")
    found = load_file(job.model_dir / "model.safetensors")
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) <= 1e-6
    assert not (job.output / "checkpoints").exists()


def test_a_step_without_any_weight_is_recorded_as_skipped_and_changes_nothing(
    make_job: MakeJob, pairs: list[WeighedPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SFT on Y with one pair per step: a pair without a reference has nothing to learn."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    job = make_job(objective="sft", processes=2, zero_stage=1, pairs_per_step=1, steps=len(pairs))
    result = run_training(job, log_path=tmp_path / "log")
    metrics = list(read_metrics(job.metrics_path))
    without = sum(not pair.reference_ids for pair in pairs)
    assert result.skipped_steps == sum(m.skipped for m in metrics) == without > 0
    assert all((m.counted, m.loss, m.grad_norm) == (0, 0.0, None) for m in metrics if m.skipped)
    assert all(m.counted and m.grad_norm for m in metrics if not m.skipped)
    assert not list(tmp_path.glob("torchelastic_*")), "temporary files are removed"


def test_bfloat16_starts_like_fp32_and_a_loss_that_is_not_finite_stops_naming_the_pairs(
    finished: Finished, make_job: MakeJob, tmp_path: Path
) -> None:
    _, _, seen = finished
    job = make_job(zero_stage=3, dtype="bfloat16", learning_rate=1e15)  # overflows attention, not AdamW
    with pytest.raises(
        TrainingError, match=r"step 2: the loss is nan in the micro-batch of pairs pair-"
    ) as caught:
        run_training(job, log_path=tmp_path / "log")
    assert str(tmp_path / "log") in str(caught.value)
    assert not (job.output / "model").exists()
    (only_step,) = read_metrics(job.metrics_path)
    assert only_step.loss == pytest.approx(seen[0].loss, rel=0.02)
    assert only_step.counted == seen[0].counted
