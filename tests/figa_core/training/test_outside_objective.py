"""An objective from outside the package, on pairs and with a reference model; the package is unchanged."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from figa_core.config.training import LossConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training.alarms import PROBE_FIGURES
from figa_core.training.data import PairData
from figa_core.training.launch import run_training
from figa_core.training.metrics import read_metrics
from figa_core.training.objectives.registry import make_objective
from tasks.report import curve_of
from tests.figa_core.training.ipo import Ipo, registered
from tests.figa_core.training.jobs import ROOT, MakeJob, changed
from tests.figa_core.training.oracle import answer_nlls

TAU = 0.05
REGISTERS = """
from figa_core.training.objectives.registry import register_objective
from tests.figa_core.training.ipo import Ipo
register_objective(Ipo)
"""


@pytest.fixture(scope="module", autouse=True)
def ipo() -> Iterator[None]:
    with registered():
        yield


@dataclass
class Expected:
    """IPO of one step, one pair at a time in plain torch."""

    loss: float
    pairs: int
    margin: float
    right: float


@torch.no_grad()
def plain_ipo(
    model: torch.nn.Module, reference: torch.nn.Module, step: Sequence[WeighedPair], tau: float
) -> Expected:
    losses: list[float] = []
    margins: list[float] = []
    for pair in step:
        if not (pair.revision_ids and pair.response_ids):
            continue
        ratios: list[float] = []
        for answer in (pair.revision_ids, pair.response_ids):
            nlls = answer_nlls(model, pair.prompt_ids, answer)
            theirs = answer_nlls(reference, pair.prompt_ids, answer)
            ratios.append(sum(float(their - nll) for nll, their in zip(nlls, theirs, strict=True)))
        margins.append(ratios[0] - ratios[1])
        losses.append((margins[-1] - 1 / (2 * tau)) ** 2)
    right = sum(margin > 0 for margin in margins) / len(margins)
    return Expected(float(np.mean(losses)), len(losses), float(np.mean(margins)), right)


def test_a_pair_that_lacks_an_answer_is_left_out_and_not_counted(shards_dir: Path) -> None:
    class OnReferences(Ipo):
        answers = ("revision", "reference")

    data = PairData(shards_dir)
    objective = OnReferences(LossConfig())
    without = [pair for pair in range(len(data)) if not data.answer_tokens(pair, "reference")]
    assert without
    for pair in range(len(data)):
        assert data.counted(pair, objective) == (pair not in without)
        assert len(data.sequences(pair, objective, tail_cut=True)) == (0 if pair in without else 2)
    with pytest.raises(TrainingError, match="log-probabilities of every revision and reference, and there"):
        data.check_log_probs(objective)


def test_a_pair_whose_answers_do_not_fit_together_is_refused(
    shards_dir: Path, pairs: list[WeighedPair]
) -> None:
    longest = max(len(p.prompt_ids) + max(len(p.response_ids), len(p.revision_ids)) for p in pairs)
    data, objective = PairData(shards_dir), make_objective(LossConfig(objective="ipo"))
    data.check_length(objective, 2 * longest, "the budget", together=True)
    words = r"\(padded prompts with revision and response\), the budget is"
    with pytest.raises(TrainingError, match=words):
        data.check_length(objective, 2 * longest - 1, "the budget", together=True)


@pytest.mark.distributed
@pytest.mark.slow
def test_a_whole_training_runs_the_reference_model_once_and_reports_the_figures(
    make_job: MakeJob,
    pairs: list[WeighedPair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(REGISTERS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))
    log_probs = tmp_path / "log-probs" / "id"
    job = make_job(
        objective="ipo",
        beta=TAU,
        steps=8,
        pairs_per_step=len(pairs),
        tokens_per_batch=256,
        reference_log_probs=log_probs,
    )
    run_training(job, log_path=tmp_path / "log")

    base, trained = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for path in (job.model, job.model_dir)
    )
    first, *_, last = read_metrics(job.metrics_path)
    at_first, at_last = (plain_ipo(model, base, pairs, TAU) for model in (base, trained))
    assert first.counted == last.counted == at_first.pairs
    assert first.figures["ratio_margin"] == pytest.approx(0, abs=1e-4), "it is its own reference"
    assert first.loss == pytest.approx(at_first.loss, abs=1e-3)
    assert last.loss < first.loss
    assert at_last.margin > 0.1
    assert at_last.right > 0.5
    curve = curve_of(job.output, "ipo")
    assert curve.label == "IPO"
    assert list(curve.series) == [
        "loss",
        "log-ratio of Ỹ above that of Ŷ",
        "share of pairs with the larger log-ratio on Ỹ",
        *(figure.title for figure in PROBE_FIGURES),
    ]

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
    with pytest.raises(TrainingError, match=r"(?s)no log-probabilities of the model.*cannot write"):
        run_training(job, log_path=tmp_path / "log")
    # `figa clean` reads in it what the training will need.
    assert [path.name for path in job.output.iterdir()] == ["job.json"]
