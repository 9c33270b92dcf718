"""Gradients that are not finite are reported and counted; a training with few updates exports no model."""

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

from figa_core.errors import DivergedTrainingError
from figa_core.records import WeighedPair
from figa_core.training import checkpoints
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from figa_core.training.metrics import MetricsLog, StepMetrics, read_metrics
from tests.figa_core.training.jobs import MakeJob

STEP = StepMetrics(1, 0.1, 5, 50, 1, 0.1, 1e-3, 1.0)
# One neuron multiplies by this, its output by the inverse: the loss is finite, a gradient's square is not.
_LARGE = 1e30
_STEEP = 1e12  # as α it makes large gradients infinite

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
    """Only at `token`: it alone has the last hidden dimension, and neuron 0 reads only that."""

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


SKIPPED = r"step 3 of 5: in 3 of them the gradient was not finite, and DeepSpeed skipped the update"
USED = r"step 1: the gradient of its 4 pairs has a norm of .*, and the update was made with it"


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("alpha", "zero_stage", "dtype", "words"),
    [
        pytest.param(_STEEP, 2, "bfloat16", SKIPPED, marks=pytest.mark.slow),
        (1.0, 3, "float32", USED),
    ],
)
def test_a_training_without_finite_gradients_fails_and_exports_nothing(
    model_dir: Path, make_job: MakeJob, tmp_path: Path, alpha: float, zero_stage: int, dtype: str, words: str
) -> None:
    """Infinite gradients, or gradients so large that AdamW's squares are."""
    model = change_model(model_dir, tmp_path / "model", overflowing_everywhere)
    job = make_job(model=model, zero_stage=zero_stage, dtype=dtype, steps=5, alpha=alpha)
    with pytest.raises(DivergedTrainingError, match=words):
        run_training(job, log_path=tmp_path / "log")
    assert checkpoints.read_manifest(job.output) is None
    assert not job.model_dir.exists()
    assert all(metrics.overflowed for metrics in read_metrics(job.metrics_path))


@pytest.mark.distributed
def test_a_few_skipped_updates_are_counted_and_the_model_is_exported(
    model_dir: Path, make_job: MakeJob, pairs: list[WeighedPair], tmp_path: Path
) -> None:
    model = change_model(model_dir, tmp_path / "model", overflowing_at(rare_token(pairs)))
    how: dict[str, Any] = {"pairs_per_step": 1, "steps": len(pairs), "alpha": _STEEP}
    job = make_job(model=model, learning_rate=1e-30, **how)  # no update gives the dimension to other tokens
    result = run_training(job, log_path=tmp_path / "log")
    metrics = list(read_metrics(job.metrics_path))
    assert 0 < result.overflowed_steps < len(pairs) / 2
    assert result.overflowed_steps == sum(m.overflowed for m in metrics)
    assert all((m.grad_norm is None) == m.overflowed for m in metrics)
    manifest = json.loads((job.output / "manifest.json").read_text())
    assert manifest["overflowed_steps"] == result.overflowed_steps


def rare_token(pairs: list[WeighedPair]) -> int:
    """A token that a few pairs have in their prompt, which the tail cut does not remove."""
    found = Counter(token for pair in pairs for token in set(pair.prompt_ids))
    everywhere = Counter(
        token for pair in pairs for token in {*pair.prompt_ids, *pair.response_ids, *pair.revision_ids}
    )
    return next(token for token, count in sorted(found.items()) if count >= 2 and everywhere[token] <= 6)


@pytest.fixture
def job(make_job: MakeJob, tmp_path: Path) -> TrainingJob:
    return make_job(steps=100, output=tmp_path)


def log_of(job: TrainingJob, kinds: str) -> MetricsLog:
    """`o` overflows, `s` is skipped, anything else is an update."""
    log = MetricsLog(job, after_step=0, active=True)
    for step, kind in enumerate(kinds, start=1):
        log.write(dataclasses.replace(STEP, step=step, overflowed=kind == "o", skipped=kind == "s"))
    return log


def test_at_most_half_of_the_updates_may_be_skipped(job: TrainingJob) -> None:
    assert log_of(job, "ou" * 50).overflowed == 50
    with pytest.raises(DivergedTrainingError, match="step 100 of 100: in 51 of them"):
        log_of(job, "o" + "ou" * 49 + "o")


def test_steps_with_nothing_to_learn_do_not_count_as_updates(job: TrainingJob) -> None:
    with pytest.raises(DivergedTrainingError, match="in 26 of them"):
        log_of(job, "s" * 50 + "ou" * 25 + "o")


def test_twenty_in_a_row_are_enough(job: TrainingJob) -> None:
    log_of(job, "o" * 19 + "u" + "o" * 19)
    with pytest.raises(DivergedTrainingError, match="step 20 of 100"):
        log_of(job, "o" * 20)


def test_steps_before_a_resumption_count(job: TrainingJob) -> None:
    log_of(job, "uo" * 5)
    log = MetricsLog(job, after_step=8, active=True)
    assert (log.overflowed, log.skipped) == (4, 0)
