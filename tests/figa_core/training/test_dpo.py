"""An objective from outside the package, on pairs and with a reference model; the package is unchanged."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from figa_core.config.training import LossConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training import reference_log_probs
from figa_core.training.batches import step_pairs
from figa_core.training.data import PairData
from figa_core.training.launch import run_training
from figa_core.training.metrics import read_metrics
from figa_core.training.objectives.registry import make_objective
from figa_core.training.reference_pass import run_pass
from tasks.report import curve_of
from tests.figa_core.training.conftest import VOCABULARY
from tests.figa_core.training.dpo import Dpo, registered
from tests.figa_core.training.gpt2 import small_gpt2
from tests.figa_core.training.jobs import (
    ROOT,
    MakeJob,
    PlainEngine,
    assert_gradients,
    changed,
    gradient_job,
    gradient_output,
    run_gradient_jobs,
    step_of_all_ranks,
)
from tests.figa_core.training.oracle import answer_nlls

BETA = 0.7
REGISTERS = """
from figa_core.training.objectives.registry import register_objective
from tests.figa_core.training.dpo import Dpo
register_objective(Dpo)
"""


@pytest.fixture(scope="module", autouse=True)
def dpo() -> Iterator[None]:
    with registered():
        yield


@dataclass
class Expected:
    """DPO of one step, one pair at a time in plain torch."""

    loss: torch.Tensor
    pairs: int
    margin: float
    preferred: float


def plain_dpo(
    model: torch.nn.Module, reference: torch.nn.Module, step: Sequence[WeighedPair], beta: float
) -> Expected:
    losses: list[torch.Tensor] = []
    margins: list[float] = []
    for pair in step:
        if not (pair.revision_ids and pair.response_ids):
            continue
        ratios: list[torch.Tensor] = []
        for answer in (pair.revision_ids, pair.response_ids):
            nlls = answer_nlls(model, pair.prompt_ids, answer)
            with torch.no_grad():
                theirs = answer_nlls(reference, pair.prompt_ids, answer)
            stored = [float(np.float32(-nll)) for nll in theirs]  # rounded to float32
            ratios.append(torch.stack([-nll - value for nll, value in zip(nlls, stored, strict=True)]).sum())
        margin = beta * (ratios[0] - ratios[1])
        losses.append(-functional.logsigmoid(margin))
        margins.append(float(margin.detach()))
    preferred = sum(margin > 0 for margin in margins) / len(margins)
    return Expected(
        torch.stack(losses).sum() / len(losses), len(losses), sum(margins) / len(margins), preferred
    )


def gpt2(seed: int) -> GPT2LMHeadModel:
    """In fp64 throughout, so that differences are rounding of fp64 alone."""
    return small_gpt2(seed, vocab_size=VOCABULARY, n_embd=8, n_layer=1, initializer_range=0.5).double()


@pytest.fixture(scope="module")
def of_gpt2(tmp_path_factory: pytest.TempPathFactory, pairs: list[WeighedPair]) -> Path:
    """Reference log-probabilities by plain torch."""
    directory, reference = tmp_path_factory.mktemp("of-gpt2"), gpt2(1)
    columns: dict[str, list[object]] = {"pair_id": [], "revision": [], "response": []}
    for pair in pairs:
        columns["pair_id"].append(pair.pair_id)
        for name, ids in (("revision", pair.revision_ids), ("response", pair.response_ids)):
            with torch.no_grad():
                columns[name].append([float(-nll) for nll in answer_nlls(reference, pair.prompt_ids, ids)])
    schema = reference_log_probs.schema_of(Dpo.answers)
    table = pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)
    reference_log_probs.write(directory, Dpo.answers, iter([table]))
    return directory


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize(("ranks", "tokens_per_batch"), [(1, 4096), (1, 100), (2, 160), (3, 72)])
def test_its_gradient_is_that_of_plain_torch_however_the_step_is_grouped(
    shards_dir: Path,
    of_gpt2: Path,
    pairs: list[WeighedPair],
    packing: bool,
    ranks: int,
    tokens_per_batch: int,
) -> None:
    expected_model = gpt2(0)
    expected = plain_dpo(expected_model, gpt2(1), pairs[:9], BETA)
    expected.loss.backward()
    data, model = PairData(shards_dir, of_gpt2), gpt2(0)
    objective = make_objective(LossConfig(objective="dpo", beta=BETA))
    how = {"tokens_per_batch": tokens_per_batch, "packing": packing, "tail_cut": True}
    plans, terms = step_of_all_ranks(PlainEngine(model), data, range(9), objective, ranks, **how)
    assert {plan.counted for plan in plans} == {expected.pairs}
    for batch in (batch for plan in plans for batch in plan.micro_batches):
        assert all(batch.pairs.count(pair) == 2 for pair in batch.pairs), "both answers are in one batch"
    loss = sum(float(one.loss) for one in terms)
    margin = sum(float(one.figures["reward_margin"][0]) for one in terms)
    assert loss / expected.pairs == pytest.approx(float(expected.loss.detach()), rel=1e-10)
    assert margin / expected.pairs == pytest.approx(expected.margin, rel=1e-10)
    largest = max(float(p.grad.abs().max()) for p in expected_model.parameters() if p.grad is not None)
    assert largest > 0.01
    for found, wanted in zip(model.parameters(), expected_model.parameters(), strict=True):
        assert (found.grad is None) == (wanted.grad is None)
        if found.grad is not None and wanted.grad is not None:
            assert float((found.grad - wanted.grad).abs().max()) <= 1e-10 * largest


def test_a_pair_that_lacks_an_answer_is_left_out_and_not_counted(shards_dir: Path, of_gpt2: Path) -> None:
    class OnReferences(Dpo):
        answers = ("revision", "reference")

    data = PairData(shards_dir)
    objective = OnReferences(LossConfig())
    without = [pair for pair in range(len(data)) if not data.answer_tokens(pair, "reference")]
    assert without
    for pair in range(len(data)):
        assert data.counted(pair, objective) == (pair not in without)
        assert len(data.sequences(pair, objective, tail_cut=True)) == (0 if pair in without else 2)
    with pytest.raises(TrainingError, match="log-probabilities of every reference, and there are none"):
        PairData(shards_dir, of_gpt2).check_log_probs(objective)


def test_a_pair_whose_answers_do_not_fit_together_is_refused(
    shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    longest = max(len(p.prompt_ids) + max(len(p.response_ids), len(p.revision_ids)) for p in pairs)
    data, objective = PairData(shards_dir), make_objective(LossConfig(objective="dpo"))
    data.check_length(objective, 2 * longest, "the budget", together=True)
    words = r"\(padded prompts with revision and response\), the budget is"
    with pytest.raises(TrainingError, match=words):
        data.check_length(objective, 2 * longest - 1, "the budget", together=True)


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


VARIANTS: dict[str, dict[str, object]] = {
    "one-rank": {"processes": 1, "tokens_per_batch": 100},
    "one-rank-one-batch": {"processes": 1, "tokens_per_batch": 4096},
    "two-ranks": {"tokens_per_batch": 100},
    "two-ranks-zero3": {"tokens_per_batch": 100, "zero_stage": 3},
}


@pytest.fixture(scope="module")
def rank_gradients(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, reference_dir: Path, shards_dir: Path
) -> Path:
    directory = tmp_path_factory.mktemp("dpo")
    run_pass(reference_dir, shards_dir, directory / "log-probs", Dpo.answers, 256)
    how: dict[str, Any] = {"objective": "dpo", "beta": BETA, "reference_log_probs": directory / "log-probs"}
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
    job = gradient_job(model_dir, shards_dir, name, objective="dpo", **VARIANTS[name])
    model, reference = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (model_dir, reference_dir)
    )
    chosen = step_pairs(1, pairs=len(pairs), pairs_per_step=job.pairs_per_step, seed=job.training.seed)
    step = plain_dpo(model, reference, [pairs[pair] for pair in chosen], BETA)
    step.loss.backward()
    output = gradient_output(rank_gradients, job)
    (metrics,) = read_metrics(output / "metrics.jsonl")
    assert metrics.counted == step.pairs
    assert metrics.loss == pytest.approx(float(step.loss.detach()), rel=1e-4)
    assert metrics.figures["reward_margin"] == pytest.approx(step.margin, rel=1e-3)
    assert metrics.figures["preferred_share"] == pytest.approx(step.preferred)
    curve = curve_of(output, "dpo")
    assert curve.label == "DPO"
    assert curve.series == {
        "loss": (metrics.loss,),
        "margin of the implicit rewards": (metrics.figures["reward_margin"],),
        "share of pairs with the larger reward on Ỹ": (metrics.figures["preferred_share"],),
    }
    assert_gradients(output, model, 1e-4)


@pytest.mark.distributed
def test_a_whole_training_runs_the_reference_model_once_and_prefers_the_revisions(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(REGISTERS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))
    log_probs = tmp_path / "log-probs" / "id"
    job = make_job(objective="dpo", steps=12, tokens_per_batch=256, reference_log_probs=log_probs)
    run_training(job, log_path=tmp_path / "log")
    metrics = list(read_metrics(job.metrics_path))
    assert metrics[0].figures["reward_margin"] == pytest.approx(0, abs=1e-4), "it is its own reference"
    last = metrics[-1].figures["reward_margin"]
    assert last is not None
    assert last > 0.1
    written = {path: path.stat().st_mtime_ns for path in log_probs.iterdir()}
    again = changed(job, training_id="again", output=tmp_path / "two", steps=1)
    run_training(again, log_path=tmp_path / "log")
    assert {path: path.stat().st_mtime_ns for path in log_probs.iterdir()} == written


@pytest.mark.distributed
def test_a_reference_pass_that_fails_stops_the_training_and_its_last_lines_are_in_the_error(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(objective="dpo", reference_log_probs=tmp_path / "log-probs")
    (tmp_path / "log-probs" / "log-probs.parquet").mkdir(parents=True)  # where the file should go
    with pytest.raises(TrainingError, match=r"(?s)no log-probabilities of the reference model.*cannot write"):
        run_training(job, log_path=tmp_path / "log")
    assert not job.output.exists()
