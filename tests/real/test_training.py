"""Trainings of a real model on two ranks: losses by the formula, resumption, export, reload."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from figa_core.chat.format import ChatFormat
from figa_core.errors import TrainingError
from figa_core.inference.engine import Generating
from figa_core.inference.transformers import TransformersGenerator
from figa_core.ports import GenerationRequest
from figa_core.training.export import export_model
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from tests.figa_core.inference.outcomes import generations
from tests.figa_core.training.jobs import changed, last_step, launcher_of
from tests.figa_core.training.oracle import oracle, settings_of
from tests.real.conftest import Shards, job_of

pytestmark = [pytest.mark.real, pytest.mark.distributed, pytest.mark.timeout(1800)]

STEPS = 4


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture(scope="module")
def zero2(model: Path, shards: Shards, outputs: Path) -> TrainingJob:
    """A finished training."""
    job = job_of(model, shards, outputs / "zero2", steps=STEPS)
    run_training(job, log_path=outputs / "zero2.log")
    return job


@pytest.fixture(scope="module")
def by_hand(model: Path, shards: Shards, zero2: TrainingJob) -> tuple[Any, list[float]]:
    """The model after the same steps in plain PyTorch, one token after another, and their losses."""
    trained = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=zero2.learning_rate, weight_decay=0.0, fused=True)
    losses: list[float] = []
    for _ in range(STEPS):
        step = oracle(trained, shards.pairs, settings_of(zero2))
        step.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(step.loss.detach()))
    return trained, losses


def losses_of(job: TrainingJob) -> list[float]:
    return [metrics.loss for metrics in read_metrics(job.metrics_path)]


def greedy(model: Path, chat: ChatFormat, shards: Shards) -> dict[str, tuple[int, ...]]:
    settings = Generating(model, chat.stop_token_ids, 0.0, max_tokens=32, max_prompt_tokens=128)
    requests = [GenerationRequest(pair.pair_id, pair.prompt_ids, 0) for pair in shards.pairs]
    answers = generations(TransformersGenerator(settings).generate(requests))
    return {key: answer.token_ids for key, answer in answers.items()}


def test_the_losses_are_those_of_the_formula_and_fall(
    zero2: TrainingJob, by_hand: tuple[Any, list[float]]
) -> None:
    losses = losses_of(zero2)
    assert losses == pytest.approx(by_hand[1], rel=1e-3, abs=1e-4)
    assert losses[0] == pytest.approx(by_hand[1][0], rel=1e-5)
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("stage", [1, 3])
def test_the_other_stages_of_zero_have_the_same_losses(
    model: Path, shards: Shards, zero2: TrainingJob, outputs: Path, stage: int
) -> None:
    job = job_of(model, shards, outputs / f"zero{stage}", steps=STEPS, zero_stage=stage)
    run_training(job, log_path=outputs / f"zero{stage}.log")
    assert losses_of(job) == pytest.approx(losses_of(zero2), rel=1e-4, abs=1e-5)


def test_a_killed_training_continues_from_its_checkpoint_with_the_same_losses(
    zero2: TrainingJob, outputs: Path
) -> None:
    job = changed(zero2, output=outputs / "killed")

    def kill(metrics: StepMetrics) -> None:
        if metrics.step == 3:
            os.kill(launcher_of(job).pid, signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"killed\.log"):
        run_training(job, on_step=kill, log_path=outputs / "killed.log")
    assert last_step(job) == 2
    run_training(job, log_path=outputs / "resumed.log")
    assert losses_of(job) == pytest.approx(losses_of(zero2), rel=1e-5, abs=1e-6)
    ours, theirs = (load_file(each.model_dir / "model.safetensors") for each in (job, zero2))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) <= 1e-6


def test_an_exported_model_answers_after_a_reload_as_it_did_in_memory(
    zero2: TrainingJob,
    by_hand: tuple[Any, list[float]],
    model: Path,
    chat: ChatFormat,
    shards: Shards,
    outputs: Path,
) -> None:
    trained, _ = by_hand
    before = {
        pair.pair_id: tuple(
            trained.generate(
                torch.tensor([pair.prompt_ids]),
                attention_mask=torch.ones(1, len(pair.prompt_ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=32,
                eos_token_id=list(chat.stop_token_ids),
            )[0, len(pair.prompt_ids) :].tolist()
        )
        for pair in shards.pairs
    }
    stops = set(chat.stop_token_ids)
    before = {key: ids[:-1] if ids[-1] in stops else ids for key, ids in before.items()}
    job = changed(zero2, output=outputs / "by-hand")
    job.output.mkdir()
    export_model(trained, trained.state_dict().__getitem__, job)
    written = load_file(job.model_dir / "model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.float32}
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in written.items())

    assert greedy(job.model_dir, chat, shards) == before
    assert greedy(zero2.model_dir, chat, shards) == before, "trained by DeepSpeed on two ranks"
    assert greedy(model, chat, shards) != before
