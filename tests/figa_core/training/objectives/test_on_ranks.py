"""DPO on two ranks: the gradient is that of one process in plain torch, with ZeRO 2 and 3."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from figa_core.config.training import LossConfig
from figa_core.records import WeighedPair
from figa_core.training.batches import step_pairs
from figa_core.training.metrics import read_metrics
from figa_core.training.objectives.dpo import Dpo
from figa_core.training.reference_pass import run_pass
from tasks.report import curve_of
from tests.figa_core.training.jobs import assert_gradients, gradient_job, gradient_output, run_gradient_jobs
from tests.figa_core.training.objectives.plain import plain_step

LOSS: dict[str, Any] = {"objective": "dpo", "preference_beta": 0.7}
VARIANTS: dict[str, dict[str, object]] = {
    "zero2": {"tokens_per_batch": 100},
    "zero3": {"tokens_per_batch": 100, "zero_stage": 3},
}


@pytest.fixture(scope="module")
def reference_dir(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Path:
    """A model whose weights differ from those of the one that is trained."""
    directory = tmp_path_factory.mktemp("reference")
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def rank_gradients(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, reference_dir: Path, shards_dir: Path
) -> Path:
    directory = tmp_path_factory.mktemp("dpo")
    run_pass(reference_dir, shards_dir, directory / "log-probs", Dpo.answers, 256)
    how: dict[str, Any] = {**LOSS, "reference_log_probs": directory / "log-probs"}
    jobs = (gradient_job(model_dir, shards_dir, name, **how, **changes) for name, changes in VARIANTS.items())
    run_gradient_jobs(directory, jobs)
    return directory


@pytest.mark.distributed
@pytest.mark.parametrize("name", VARIANTS)
def test_ranks_have_the_gradient_of_plain_torch_and_report_its_figures(
    name: str,
    rank_gradients: Path,
    model_dir: Path,
    reference_dir: Path,
    shards_dir: Path,
    pairs: list[WeighedPair],
) -> None:
    job = gradient_job(model_dir, shards_dir, name, **LOSS, **VARIANTS[name])
    model, reference = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (model_dir, reference_dir)
    )
    chosen = step_pairs(1, pairs=len(pairs), pairs_per_step=job.pairs_per_step, seed=job.training.seed)
    step = plain_step(model, reference, [pairs[pair] for pair in chosen], LossConfig(**LOSS))
    step.loss.backward()
    output = gradient_output(rank_gradients, job)
    (metrics,) = read_metrics(output / "metrics.jsonl")
    assert metrics.counted == step.divisor
    assert metrics.loss == pytest.approx(float(step.loss.detach()), rel=1e-4)
    margin = sum(step.margins) / len(step.margins)
    assert metrics.figures["reward_margin"] == pytest.approx(margin, rel=1e-3)
    right = sum(margin > 0 for margin in step.margins) / len(step.margins)
    assert metrics.figures["preferred_share"] == pytest.approx(right)
    curve = curve_of(output, "dpo")
    assert curve.label == "DPO"
    expected = {
        "loss": (metrics.loss,),
        "margin of the implicit rewards": (metrics.figures["reward_margin"],),
        "share of pairs with the larger reward on Ỹ": (metrics.figures["preferred_share"],),
    }
    assert {name: curve.series[name] for name in expected} == expected
    assert_gradients(output, model, 1e-4)
