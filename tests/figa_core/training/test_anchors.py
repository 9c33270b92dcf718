"""What holds the unchanged tokens: gradients are those of plain torch however a step is grouped."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from figa_core.config.training import LossConfig
from figa_core.errors import TrainingError
from figa_core.records import EditClass, WeighedPair
from figa_core.training import reference_log_probs
from figa_core.training.attention import use_packed_attention
from figa_core.training.batches import step_pairs
from figa_core.training.data import PairData
from figa_core.training.launch import run_training
from figa_core.training.metrics import read_metrics
from figa_core.training.objectives.registry import make_objective
from figa_core.training.reference_pass import run_pass
from figa_core.weighting.alignment import edit_classes
from tests.figa_core.training.anchored import plain_step
from tests.figa_core.training.conftest import VOCABULARY
from tests.figa_core.training.gpt2 import small_gpt2
from tests.figa_core.training.jobs import (
    MakeJob,
    PlainEngine,
    assert_gradients,
    gradient_job,
    gradient_output,
    run_gradient_jobs,
    step_of_all_ranks,
    write_set,
)

PAIRS = 6
SETTINGS: dict[str, dict[str, Any]] = {
    "fading": {"gamma": 0.4, "gamma_fade_tokens": 2.0},
    "unique": {"gamma": 0.2, "negatives": "unique"},
    "kl": {"gamma": 0.0, "kl_weight": 0.7},
    "all": {"gamma": 0.4, "gamma_fade_tokens": 3.0, "kl_weight": 0.7, "negatives": "unique"},
}


def loss_of(**settings: Any) -> LossConfig:
    return LossConfig(negative_nll_max=None, **settings)


@pytest.fixture(scope="module")
def aligned() -> list[WeighedPair]:
    """Answers of few different tokens with the classes of their alignment."""
    rng = np.random.default_rng(5)
    found: list[WeighedPair] = []
    while len(found) < PAIRS:
        before, after = (tuple(rng.integers(2, 9, rng.integers(4, 14)).tolist()) for _ in range(2))
        old, new = edit_classes(before, after)
        if EditClass.DELETED in old and EditClass.KEPT in new and set(before) - set(after):
            end = (int(EditClass.END_OF_TURN),)
            ids = (*before, 1), old + end, (*after, 1), new + end
            prompt = tuple(rng.integers(2, VOCABULARY, 5).tolist())
            found.append(WeighedPair(f"pair-{len(found)}", prompt, *ids, (), 0.0, 1.0))
    return found


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, aligned: list[WeighedPair]) -> Path:
    directory = tmp_path_factory.mktemp("aligned")
    write_set(directory, aligned)
    return directory


def gpt2(seed: int) -> torch.nn.Module:
    return small_gpt2(seed, vocab_size=VOCABULARY, n_embd=8, n_layer=2, initializer_range=0.5).double()


@pytest.fixture(scope="module")
def of_base(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """The base model's whole distributions at the tokens of Ỹ."""
    base: Any = gpt2(1)
    directory = tmp_path_factory.mktemp("base")
    base.float().save_pretrained(directory / "model")
    run_pass(directory / "model", shards, directory / "log-probs", ("revision",), 64, VOCABULARY)
    return directory / "log-probs"


def ours(
    data: PairData, loss: LossConfig, *, ranks: int = 1, packed: bool = False, budget: int = 4096
) -> tuple[float, list[torch.Tensor], float | None]:
    """Loss, gradients and mean divergence of one step."""
    model: Any = copy.deepcopy(gpt2(0))
    if packed:
        assert use_packed_attention(model)
    objective = make_objective(loss)
    how = {"tokens_per_batch": budget, "packing": packed, "tail_cut": True}
    plans, terms = step_of_all_ranks(PlainEngine(model), data, range(len(data)), objective, ranks, **how)
    total = sum(float(one.loss) for one in terms) / plans[0].counted
    kl = None
    if objective.held_to_base:
        sums = [sum(float(one.figures["base_kl"][part]) for one in terms) for part in (0, 1)]
        kl = sums[0] / sums[1]
    return total, gradients_of(model), kl


def gradients_of(model: torch.nn.Module) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


def difference(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """The largest, relative to the largest gradient."""
    largest = max(float(each.abs().max()) for each in expected)
    assert largest > 0.01
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) / largest


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(
    ("ranks", "packed", "budget"), [(1, False, 4096), (1, True, 4096), (2, False, 64), (3, True, 40)]
)
def test_loss_and_gradient_are_those_of_plain_torch_packed_padded_and_on_several_ranks(
    aligned: list[WeighedPair], shards: Path, of_base: Path, name: str, ranks: int, packed: bool, budget: int
) -> None:
    loss, model = loss_of(**SETTINGS[name]), gpt2(0)
    expected = plain_step(model, gpt2(1), aligned, loss)
    expected.loss.backward()
    found, gradients, kl = ours(PairData(shards, of_base), loss, ranks=ranks, packed=packed, budget=budget)
    # What is stored of the base model is float32.
    assert found == pytest.approx(float(expected.loss.detach()), rel=1e-5)
    assert difference(gradients, gradients_of(model)) < 1e-5
    if kl is not None:
        assert kl == pytest.approx(np.mean(expected.divergences), rel=1e-5)
        assert kl > 0.01


def test_fewer_stored_tokens_give_a_smaller_divergence(tmp_path: Path, shards: Path, of_base: Path) -> None:
    run_pass(of_base.parent / "model", shards, tmp_path / "few", ("revision",), 64, 4)
    loss = loss_of(**SETTINGS["kl"])
    whole, few = (ours(PairData(shards, path), loss)[2] for path in (of_base, tmp_path / "few"))
    assert whole is not None
    assert few is not None
    assert 0 < few < whole
    table = reference_log_probs.read(tmp_path / "few")
    manifest = reference_log_probs.read_manifest(tmp_path / "few")
    assert manifest is not None
    assert manifest.top_tokens == 4
    first = table.to_pylist()[0]
    tokens = len(first["revision"])
    assert (len(first["revision_top_ids"]), len(first["revision_top_log_probs"])) == (4 * tokens, 5 * tokens)
    buckets = np.exp(np.reshape(first["revision_top_log_probs"], (tokens, 5)))
    assert buckets.sum(axis=1) == pytest.approx(np.ones(tokens), abs=1e-5)


def test_at_their_defaults_the_gradient_is_bit_for_bit_that_without_the_settings(
    shards: Path, of_base: Path
) -> None:
    plain = ours(PairData(shards), loss_of(gamma=0.3))
    for settings in ({"kl_weight": 0.0}, {"negatives": "all"}, {"gamma_fade_tokens": None}):
        found = ours(PairData(shards, of_base), loss_of(gamma=0.3, **settings))
        assert found[0] == plain[0]
        assert all(torch.equal(a, b) for a, b in zip(found[1], plain[1], strict=True))


def test_a_gamma_that_fades_over_any_length_is_a_gamma_everywhere_and_one_over_none_is_no_gamma(
    shards: Path,
) -> None:
    data = PairData(shards)
    for reach, gamma in ((1e9, 0.3), (1e-3, 0.0)):
        found, plain = (
            ours(data, loss_of(**settings))
            for settings in ({"gamma": 0.3, "gamma_fade_tokens": reach}, {"gamma": gamma})
        )
        assert found[0] == plain[0]
        assert all(torch.equal(a, b) for a, b in zip(found[1], plain[1], strict=True))


def test_neither_fading_nor_fewer_negatives_nor_a_divergence_changes_n(shards: Path, of_base: Path) -> None:
    data = PairData(shards, of_base)
    for settings in SETTINGS.values():
        counted = [
            sum(data.counted(pair, make_objective(loss)) for pair in range(len(data)))
            for loss in (LossConfig(), loss_of(**settings))
        ]
        assert counted[0] == counted[1] > 0


def test_without_the_base_models_most_likely_tokens_a_held_training_is_refused(
    tmp_path: Path, shards: Path, of_base: Path
) -> None:
    objective = make_objective(loss_of(kl_weight=1.0))
    run_pass(of_base.parent / "model", shards, tmp_path / "none", ("revision",), 64)
    for log_probs in (None, tmp_path / "none"):
        with pytest.raises(TrainingError, match="log-probabilities of every revision, and there are none"):
            PairData(shards, log_probs).check_log_probs(objective)
    PairData(shards, of_base).check_log_probs(objective)
    PairData(shards).check_log_probs(make_objective(LossConfig()))


VARIANTS: dict[str, dict[str, object]] = {
    "zero1": {"zero_stage": 1, "tokens_per_batch": 64},
    "zero2": {"zero_stage": 2, "tokens_per_batch": 64},
    "zero3": {"zero_stage": 3, "tokens_per_batch": 64},
    "one-rank": {"processes": 1, "tokens_per_batch": 4096},
}


@pytest.fixture(scope="module")
def rank_gradients(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, shards: Path) -> Path:
    directory = tmp_path_factory.mktemp("anchored")
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(directory / "base")
    run_pass(directory / "base", shards, directory / "log-probs", ("revision",), 256, VOCABULARY)
    run_gradient_jobs(directory, (job_of(model_dir, shards, directory, name) for name in VARIANTS))
    return directory


def job_of(model_dir: Path, shards: Path, directory: Path, name: str) -> Any:
    how = {**SETTINGS["all"], "negative_nll_max": None, "pairs_per_step": PAIRS}
    return gradient_job(
        model_dir, shards, name, **how, reference_log_probs=directory / "log-probs", **VARIANTS[name]
    )


@pytest.mark.distributed
@pytest.mark.parametrize("name", VARIANTS)
def test_ranks_have_the_gradient_of_plain_torch_and_report_the_divergence(
    name: str, rank_gradients: Path, model_dir: Path, shards: Path, aligned: list[WeighedPair]
) -> None:
    job = job_of(model_dir, shards, rank_gradients, name)
    model, base = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        for path in (model_dir, rank_gradients / "base")
    )
    chosen = step_pairs(1, pairs=PAIRS, pairs_per_step=PAIRS, seed=job.training.seed)
    expected = plain_step(model, base, [aligned[pair] for pair in chosen], job.loss)
    expected.loss.backward()
    output = gradient_output(rank_gradients, job)
    (metrics,) = read_metrics(output / "metrics.jsonl")
    assert metrics.loss == pytest.approx(float(expected.loss.detach()), rel=1e-4)
    assert metrics.figures["base_kl"] == pytest.approx(np.mean(expected.divergences), rel=1e-3)
    assert_gradients(output, model, 1e-4)


@pytest.mark.distributed
@pytest.mark.slow
def test_a_training_makes_what_it_needs_of_the_base_model_and_starts_at_no_distance_from_it(
    make_job: MakeJob, tmp_path: Path
) -> None:
    log_probs = tmp_path / "log-probs" / "id"
    job = make_job(kl_weight=1.0, steps=3, tokens_per_batch=256, reference_log_probs=log_probs)
    run_training(job, log_path=tmp_path / "log")
    kls = [step.figures["base_kl"] for step in read_metrics(job.metrics_path)]
    assert kls[0] == pytest.approx(0, abs=1e-6)
    assert kls[-1] is not None
    assert kls[-1] > 1e-6
