"""The methods beside FIGA: loss and gradient are those of their papers, however a step is grouped."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from figa_core.config.training import LossConfig
from figa_core.records import WeighedPair
from tests.figa_core.training.gpt2 import gpt2_fp64
from tests.figa_core.training.objectives.grouped import Found, gradients_of, run_step
from tests.figa_core.training.objectives.plain import Expected, plain_step

METHODS = ("dpo", "apo_zero", "simpo", "rrhf", "dft", "dft_reference", "coh")
SETTINGS = {
    "dpo": LossConfig(objective="dpo", preference_beta=0.7),
    "simpo": LossConfig(objective="simpo", preference_beta=1.5, preference_margin=0.4),
}
GROUPINGS = [(1, 4096, False), (1, 100, True), (2, 160, True), (3, 72, False)]


def loss_of(method: str) -> LossConfig:
    return SETTINGS.get(method, LossConfig(objective=method))


@pytest.fixture(scope="module")
def step(pairs: list[WeighedPair]) -> list[WeighedPair]:
    """Nine pairs of uneven lengths; in some the draft has the higher reward, in one both have the same."""
    rng = np.random.default_rng(5)
    rewarded = [replace(pair, revision_reward=float(rng.normal())) for pair in pairs[:8]]
    return [*rewarded, replace(pairs[8], revision_reward=0.0)]


def assert_equal(found: Found, expected_loss: torch.Tensor, divisor: int, model: torch.nn.Module) -> None:
    assert {plan.counted for plan in found.plans} == {divisor}
    assert found.loss == pytest.approx(float(expected_loss.detach()), rel=1e-10)
    wanted = gradients_of(model)
    largest = max(float(gradient.abs().max()) for gradient in wanted)
    assert largest > 1e-4
    for ours, theirs in zip(found.gradients, wanted, strict=True):
        assert float((ours - theirs).abs().max()) <= 1e-10 * largest


@pytest.fixture(scope="module", params=METHODS)
def expected_of(
    request: pytest.FixtureRequest, step: list[WeighedPair]
) -> tuple[str, Expected, GPT2LMHeadModel]:
    """A method, its step in plain torch, and the model with its gradient."""
    plain = gpt2_fp64(0)
    expected = plain_step(plain, gpt2_fp64(1), step, loss_of(request.param))
    expected.loss.backward()
    return request.param, expected, plain


@pytest.mark.parametrize(("ranks", "tokens_per_batch", "packing"), GROUPINGS)
def test_loss_and_gradient_are_those_of_plain_torch_however_the_step_is_grouped(
    step: list[WeighedPair],
    expected_of: tuple[str, Expected, GPT2LMHeadModel],
    ranks: int,
    tokens_per_batch: int,
    packing: bool,
) -> None:
    method, expected, plain = expected_of
    how = {"ranks": ranks, "tokens_per_batch": tokens_per_batch, "packing": packing}
    found = run_step(gpt2_fp64(0), gpt2_fp64(1), step, loss_of(method), **how)
    assert_equal(found, expected.loss, expected.divisor, plain)
    if tokens_per_batch == 100:
        assert len(found.plans[0].micro_batches) > 1
    if expected.margins:
        assert found.figure("reward_margin") == pytest.approx(np.mean(expected.margins), rel=1e-9)
        assert found.figure("preferred_share") == np.mean([margin > 0 for margin in expected.margins])


@pytest.mark.parametrize("method", ["dpo", "apo_zero", "simpo", "rrhf"])
def test_both_answers_of_a_pair_are_in_one_batch_and_a_pair_without_one_of_them_is_left_out(
    step: list[WeighedPair], method: str
) -> None:
    short = [replace(step[0], response_ids=(), response_classes=()), *step[1:]]
    plain, loss = gpt2_fp64(0), loss_of(method)
    expected = plain_step(plain, gpt2_fp64(1), short, loss)
    expected.loss.backward()
    found = run_step(gpt2_fp64(0), gpt2_fp64(1), short, loss, tokens_per_batch=100)
    assert expected.divisor == len(step) - 1
    assert_equal(found, expected.loss, expected.divisor, plain)
    for plan in found.plans:
        for batch in plan.micro_batches:
            assert all(batch.pairs.count(pair) == 2 for pair in batch.pairs)


def test_dft_on_y_skips_pairs_without_a_reference(step: list[WeighedPair]) -> None:
    found = run_step(gpt2_fp64(0), gpt2_fp64(1), step, loss_of("dft_reference"))
    assert {plan.counted for plan in found.plans} == {sum(len(pair.reference_ids) for pair in step)}
    assert any(not pair.reference_ids for pair in step)


def swapped(pair: WeighedPair) -> WeighedPair:
    """Ỹ as Ŷ and Ŷ as Ỹ, with their rewards."""
    return replace(
        pair,
        revision_ids=pair.response_ids,
        revision_classes=pair.response_classes,
        response_ids=pair.revision_ids,
        response_classes=pair.revision_classes,
        revision_reward=pair.response_reward,
        response_reward=pair.revision_reward,
    )


@pytest.mark.parametrize("method", ["dpo", "apo_zero", "simpo"])
def test_swapping_revision_and_response_flips_the_margin(step: list[WeighedPair], method: str) -> None:
    one, other = (
        run_step(gpt2_fp64(0), gpt2_fp64(1), pairs, loss_of(method)).figure("reward_margin")
        for pairs in (step, [swapped(pair) for pair in step])
    )
    assert one == pytest.approx(-other, rel=1e-9)
    assert abs(one) > 1e-3


def test_rrhf_reads_the_order_of_the_rewards_not_the_names_of_the_answers(step: list[WeighedPair]) -> None:
    distinct = [pair for pair in step if pair.revision_reward != pair.response_reward]
    assert any(pair.revision_reward < pair.response_reward for pair in distinct)
    one = run_step(gpt2_fp64(0), gpt2_fp64(1), distinct, loss_of("rrhf"))
    other = run_step(gpt2_fp64(0), gpt2_fp64(1), [swapped(pair) for pair in distinct], loss_of("rrhf"))
    assert one.loss == pytest.approx(other.loss, rel=1e-12)
    larger = [replace(pair, revision_reward=1000 * pair.revision_reward) for pair in distinct]
    assert run_step(gpt2_fp64(0), gpt2_fp64(1), larger, loss_of("rrhf")).loss == one.loss, "only the order"


def test_coh_leaves_out_the_sequences_for_which_a_pair_lacks_an_answer(step: list[WeighedPair]) -> None:
    short = [replace(step[0], response_ids=(), response_classes=()), *step[1:]]
    plain = gpt2_fp64(0)
    expected = plain_step(plain, gpt2_fp64(1), short, loss_of("coh"))
    expected.loss.backward()
    found = run_step(gpt2_fp64(0), gpt2_fp64(1), short, loss_of("coh"), tokens_per_batch=100)
    assert_equal(found, expected.loss, expected.divisor, plain)
    assert sum(batch.pairs.count(0) for plan in found.plans for batch in plan.micro_batches) == 1


def test_sft_on_the_best_sample_is_sft_on_that_text_and_other_prompts_pairs_without_one_do_not_count(
    step: list[WeighedPair],
) -> None:
    best = [replace(pair, best_ids=pair.revision_ids if i % 2 else ()) for i, pair in enumerate(step)]
    only = [pair for i, pair in enumerate(step) if i % 2]
    found = run_step(gpt2_fp64(0), gpt2_fp64(1), best, loss_of("sft_best"))
    sft = run_step(gpt2_fp64(0), gpt2_fp64(1), only, loss_of("sft_revised"))
    assert found.loss == pytest.approx(sft.loss, rel=1e-12)
    assert found.plans[0].counted == sft.plans[0].counted
