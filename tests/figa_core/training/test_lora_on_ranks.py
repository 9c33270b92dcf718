"""LoRA with what surrounds a training: preferences, held-out pairs, alarms; on real ranks.

That its gradients and updates are those of peft and PyTorch is in `test_lora.py` and `test_distributed.py`,
its checkpoints on other ranks in `test_repartition_on_ranks.py`.
"""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from figa_core.config import HeldOutConfig, LoraConfig, LossConfig
from figa_core.records import WeighedPair
from figa_core.training.batches import step_pairs
from figa_core.training.held_out import looks_in
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from figa_core.training.objectives.registry import make_objective
from figa_core.training.reference_pass import run_pass
from tests.figa_core.training.jobs import (
    MakeJob,
    changed,
    gradient_job,
    gradient_output,
    run_gradient_jobs,
)
from tests.figa_core.training.objectives.plain import plain_step

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(900)]

LORA = LoraConfig(rank=4)
PREFERENCES = [(name, stage) for name in ("dpo", "apo_zero", "simpo") for stage in (2, 3)]
STEPS = 3


def preference_job(model_dir: Path, shards_dir: Path, log_probs: Path, name: str, stage: int) -> TrainingJob:
    reads = make_objective(LossConfig(objective=name)).reference_answers
    return gradient_job(
        model_dir,
        shards_dir,
        f"{name}-{stage}",
        objective=name,
        zero_stage=stage,
        tokens_per_batch=100,
        learning_rate=1e-2,
        steps=STEPS,
        lora=LORA,
        reference_log_probs=log_probs if reads else None,
    )


@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, shards_dir: Path) -> Path:
    directory = tmp_path_factory.mktemp("preferences")
    log_probs = directory / "log-probs"
    run_pass(model_dir, shards_dir, log_probs, make_objective(LossConfig(objective="dpo")).answers, 256)
    jobs = [preference_job(model_dir, shards_dir, log_probs, *each) for each in PREFERENCES]
    run_gradient_jobs(directory, jobs)
    return directory


class AdapterOff(nn.Module):
    """The base model within a model with updates."""

    def __init__(self, wrapped: Any) -> None:
        super().__init__()
        self.wrapped = [wrapped]  # not a submodule: its weights are those of the other one

    def forward(self, *arguments: Any, **named: Any) -> Any:
        with self.wrapped[0].disable_adapter():
            return self.wrapped[0](*arguments, **named)


@pytest.mark.parametrize(("name", "stage"), PREFERENCES)
def test_the_reference_of_a_preference_is_the_model_without_its_updates(
    name: str,
    stage: int,
    preferences: Path,
    model_dir: Path,
    shards_dir: Path,
    pairs: list[WeighedPair],
) -> None:
    job = preference_job(model_dir, shards_dir, preferences / "log-probs", name, stage)
    model: Any = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    torch.manual_seed(job.training.seed)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(model, config)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2, weight_decay=0)
    output = gradient_output(preferences, job)
    metrics = read_metrics(output / "metrics.jsonl")
    before = {name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad}
    for step in range(1, STEPS + 1):
        chosen = step_pairs(step, pairs=len(pairs), pairs_per_step=job.pairs_per_step, seed=job.training.seed)
        expected = plain_step(model, AdapterOff(wrapped), [pairs[pair] for pair in chosen], job.loss)
        expected.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found = metrics[step - 1]
        assert found.loss == pytest.approx(float(expected.loss.detach()), rel=1e-4)
        margin = sum(expected.margins) / len(expected.margins)
        assert found.figures["reward_margin"] == pytest.approx(margin, rel=1e-3, abs=1e-6)
    moved = load_file(output.with_suffix(".safetensors"))
    assert moved.keys() == before.keys()
    wanted = {name: before[name] - each.detach() for name, each in model.named_parameters() if name in before}
    whole = torch.cat([wanted[name].flatten() for name in wanted])
    differences = torch.cat([(moved[name] - wanted[name]).flatten() for name in wanted])
    assert float(differences.norm()) <= 1e-3 * float(whole.norm())


def adapter_of(job: TrainingJob) -> dict[str, torch.Tensor]:
    return load_file(job.model_dir / "adapter_model.safetensors")


def assert_equal_adapters(one: TrainingJob, other: TrainingJob, tolerance: float) -> None:
    found, expected = adapter_of(one), adapter_of(other)
    assert found.keys() == expected.keys()
    assert max(float(weights.abs().max()) for weights in expected.values()) > 100 * tolerance
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) <= tolerance


def test_the_best_adapter_by_held_out_pairs_is_the_result(make_job: MakeJob, tmp_path: Path) -> None:
    held_out = HeldOutConfig(share=0.25, every_steps=2, result="best", patience=2)
    job = make_job(
        lora=LORA,
        processes=2,
        zero_stage=3,
        objective="sft_revised",
        learning_rate=3e-2,
        steps=40,
        checkpoint_steps=3,
        stops=(),
        held_out=held_out,
    )
    steps = list[StepMetrics]()
    done = run_training(job, on_step=steps.append, log_path=tmp_path / "log")
    best = min(looks_in(steps), key=lambda look: look.loss)
    assert done.held_out is not None
    assert (done.held_out.best_step, done.steps) == (best.step, best.step)
    assert 1 < best.step < steps[-1].step < 40, "patience ended it, and it went back"
    planned = changed(job, output=tmp_path / "planned", training_id="planned", steps=best.step, zero_stage=2)
    run_training(
        changed(planned, held_out=held_out.model_copy(update={"result": "last", "patience": None})),
        log_path=tmp_path / "planned.log",
    )
    assert_equal_adapters(job, planned, 1e-4)


def test_after_an_alarm_the_adapter_of_the_last_good_step_is_the_result(
    make_job: MakeJob, tmp_path: Path
) -> None:
    drifts: dict[str, Any] = {"gamma": 0.0, "learning_rate": 2e-3, "unchanged_nll_rise": 0.1}
    job = make_job(lora=LoraConfig(rank=16), processes=2, **drifts)
    done = run_training(job, log_path=tmp_path / "log")
    alarm = done.ended_by
    assert alarm is not None
    assert 0 < alarm.good_step < alarm.step
    assert (done.steps, done.planned_steps) == (alarm.good_step, job.steps)
    planned = changed(job, output=tmp_path / "planned", steps=done.steps, stops=())
    run_training(planned, log_path=tmp_path / "planned.log")
    assert_equal_adapters(job, planned, 1e-6)
