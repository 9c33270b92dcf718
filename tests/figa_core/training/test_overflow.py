"""Gradients that are not finite: said, counted, and no model comes of a training that made few updates."""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training import checkpoints
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from figa_core.training.metrics_log import MetricsLog
from tests.figa_core.training.jobs import changed, training_job

STEP = StepMetrics(1, 0.1, 5, 50, 1, 0.1, 1e-3, 1.0)
# One neuron multiplies by this and its output by the inverse: the loss is finite, a gradient's square is not.
_LARGE = 1e30
_STEEP = 1e12  # as α: makes what is large infinite


Change = Callable[[Any], None]


def change_model(source: Path, target: Path, change: Change) -> Path:
    shutil.copytree(source, target)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad():
        change(model)
    model.save_pretrained(target)
    return target


def overflowing_everywhere(model: Any) -> None:
    layer = model.get_submodule("model.layers.0.mlp")
    layer.get_submodule("up_proj").weight.mul_(_LARGE)
    layer.get_submodule("down_proj").weight.div_(_LARGE)


def overflowing_at(token: int) -> Change:
    """Only where `token` is: the last hidden dimension is its own, and neuron 0 reads that alone."""

    def change(model: Any) -> None:
        embedding = model.get_submodule("model.embed_tokens").weight
        embedding[:, -1] = 0
        embedding[token, -1] = 1
        layer = model.get_submodule("model.layers.0")
        layer.get_submodule("self_attn.o_proj").weight[-1] = 0
        up, down = layer.get_submodule("mlp.up_proj").weight, layer.get_submodule("mlp.down_proj").weight
        up[0] = 0
        up[0, -1] = _LARGE
        down[:, 0] /= _LARGE

    return change


LEFT_OUT = r"step 3 of 5: in 3 of them the gradient was not finite, and DeepSpeed left the update out"
USED = r"step 1: the gradient of its 4 pairs has a norm of .*, and the update was made with it"


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("alpha", "zero_stage", "dtype", "words"),
    [
        pytest.param(_STEEP, 2, "bfloat16", LEFT_OUT, marks=pytest.mark.slow),
        (1.0, 3, "float32", USED),
    ],
)
def test_a_training_without_finite_gradients_fails_and_exports_nothing(
    model_dir: Path, shards_dir: Path, tmp_path: Path, alpha: float, zero_stage: int, dtype: str, words: str
) -> None:
    """Infinite, or so large that AdamW's squares of it are."""
    model = change_model(model_dir, tmp_path / "model", overflowing_everywhere)
    job = training_job(model, shards_dir, tmp_path / "out", processes=1, zero_stage=zero_stage, dtype=dtype)
    with pytest.raises(TrainingError, match=words):
        run_training(changed(job, steps=5, alpha=alpha), log_path=tmp_path / "log")
    assert checkpoints.read_manifest(job.output) is None
    assert not job.model_dir.exists()
    assert all(metrics.overflowed for metrics in read_metrics(job.metrics_path))


@pytest.mark.distributed
def test_a_few_updates_left_out_are_counted_and_the_model_is_made_of_the_others(
    model_dir: Path, shards_dir: Path, pairs: list[WeighedPair], tmp_path: Path
) -> None:
    token = rare_token(pairs)
    model = change_model(model_dir, tmp_path / "model", overflowing_at(token))
    job = training_job(model, shards_dir, tmp_path / "out", processes=1)
    # An update must not make the token's own dimension that of others.
    job = changed(job, pairs_per_step=1, steps=len(pairs), alpha=_STEEP, learning_rate=1e-30)
    result = run_training(job, log_path=tmp_path / "log")
    metrics = list(read_metrics(job.metrics_path))
    assert 0 < result.overflowed_steps < len(pairs) / 2
    assert result.overflowed_steps == sum(m.overflowed for m in metrics)
    assert all((m.grad_norm is None) == m.overflowed for m in metrics)
    manifest = json.loads((job.output / "manifest.json").read_text())
    assert manifest["overflowed_steps"] == result.overflowed_steps


def rare_token(pairs: list[WeighedPair]) -> int:
    """One that a few pairs have in their prompt, where no tail is cut."""
    found = Counter(token for pair in pairs for token in set(pair.prompt_ids))
    everywhere = Counter(
        token for pair in pairs for token in {*pair.prompt_ids, *pair.response_ids, *pair.revision_ids}
    )
    return next(token for token, count in sorted(found.items()) if count >= 2 and everywhere[token] <= 6)


@pytest.fixture
def job(model_dir: Path, shards_dir: Path, tmp_path: Path) -> TrainingJob:
    job = training_job(model_dir, shards_dir, tmp_path)
    return changed(job, steps=100)


def log_of(job: TrainingJob, kinds: str) -> MetricsLog:
    """`o` overflowed, `s` skipped, anything else is an update."""
    log = MetricsLog(job, after_step=0, active=True)
    for step, kind in enumerate(kinds, start=1):
        log.write(dataclasses.replace(STEP, step=step, overflowed=kind == "o", skipped=kind == "s"))
    return log


def test_half_of_the_updates_may_be_left_out_and_no_more(job: TrainingJob) -> None:
    assert log_of(job, "ou" * 50).overflowed == 50
    with pytest.raises(TrainingError, match="step 100 of 100: in 51 of them"):
        log_of(job, "o" + "ou" * 49 + "o")


def test_steps_with_nothing_to_learn_are_no_updates_that_were_made(job: TrainingJob) -> None:
    with pytest.raises(TrainingError, match="in 26 of them"):
        log_of(job, "s" * 50 + "ou" * 25 + "o")


def test_twenty_in_a_row_are_enough(job: TrainingJob) -> None:
    log_of(job, "o" * 19 + "u" + "o" * 19)
    with pytest.raises(TrainingError, match="step 20 of 100"):
        log_of(job, "o" * 20)


def test_those_before_a_resumption_count_too(job: TrainingJob) -> None:
    log_of(job, "uo" * 5)
    log = MetricsLog(job, after_step=8, active=True)
    assert (log.overflowed, log.skipped) == (4, 0)
