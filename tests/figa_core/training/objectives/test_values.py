"""The methods beside FIGA on log-probabilities given by hand: known values, limits and invariances."""

import math
from collections.abc import Sequence

import pytest
import torch

from figa_core.config.training import LossConfig
from figa_core.training.objectives.base import Predictions, Terms
from figa_core.training.objectives.registry import make_objective

REFERENCED = ("dpo", "apo_zero")
PAIRED = (*REFERENCED, "simpo", "rrhf")


def predictions_of(
    revision: Sequence[float],
    response: Sequence[float],
    reference: Sequence[float] | None = None,
    rewards: tuple[float, float] = (1.0, 0.0),
) -> Predictions:
    """One pair with these NLLs, and log-probabilities of a reference model."""
    nll = torch.tensor([*revision, *response], requires_grad=True)
    return Predictions(
        nll_K=nll,
        weights_K=torch.ones(len(nll)),
        counts=(len(revision), len(response)),
        pairs=(0, 0),
        answers=("revision", "response"),
        rewards=rewards,
        reference_log_probs_K=-nll.detach() if reference is None else torch.tensor([*reference]),
    )


def terms_of(method: str, predictions: Predictions, **loss: object) -> Terms:
    return make_objective(LossConfig.model_validate({"objective": method, **loss})).terms(predictions)


def loss_of(method: str, predictions: Predictions, **loss: object) -> float:
    return float(terms_of(method, predictions, **loss).loss.detach())


def gradient(method: str, predictions: Predictions, **loss: object) -> torch.Tensor:
    """Of the loss, with respect to the NLLs."""
    terms_of(method, predictions, **loss).loss.backward()
    assert predictions.nll_K.grad is not None
    return predictions.nll_K.grad


def test_a_model_that_is_its_own_reference_has_the_loss_and_the_margin_of_no_preference() -> None:
    for method, value in (("dpo", math.log(2)), ("apo_zero", 1.0)):
        terms = terms_of(method, predictions_of([0.3, 2.0, 0.1], [0.4]))
        assert float(terms.loss.detach()) == pytest.approx(value, abs=1e-7)
        assert float(terms.figures["reward_margin"][0]) == 0
        assert terms.figures["preferred_share"] == (0, 1)


def test_its_first_gradient_has_one_size_at_all_tokens_up_on_the_revision_and_down_on_the_response() -> None:
    """σ′(0) = 1/4 in APO-zero, σ(0) = 1/2 in DPO; times β, 0.1 in both papers."""
    for method, size in (("dpo", 0.05), ("apo_zero", 0.025)):
        found = gradient(method, predictions_of([0.3, 2.0, 0.1], [0.4]))
        torch.testing.assert_close(found, size * torch.tensor([1.0, 1.0, 1.0, -1.0]))


def test_simpo_at_a_margin_of_gamma_has_a_loss_of_log_2_and_divides_the_gradient_by_each_length() -> None:
    """β = 2: the mean log-probabilities differ by 0.5, so the margin is 1, the default γ."""
    predictions = predictions_of([0.2, 0.4, 0.6], [0.9])
    assert loss_of("simpo", predictions) == pytest.approx(math.log(2), abs=1e-6)
    expected = torch.tensor([1 / 3, 1 / 3, 1 / 3, -1.0])  # β · σ(0) = 1
    torch.testing.assert_close(gradient("simpo", predictions), expected)


def test_simpo_does_not_change_if_an_answer_is_as_likely_per_token_but_longer() -> None:
    one, twice = predictions_of([0.2, 0.6], [0.9]), predictions_of([0.2, 0.6, 0.2, 0.6], [0.9, 0.9, 0.9])
    assert loss_of("simpo", one) == pytest.approx(loss_of("simpo", twice), abs=1e-6)
    assert not make_objective(LossConfig(objective="simpo")).reference_log_probs


def test_rrhf_is_sft_on_the_better_answer_where_the_model_ranks_as_the_rewards_do() -> None:
    ranked = predictions_of([0.1, 0.3], [0.9])
    torch.testing.assert_close(gradient("rrhf", ranked), torch.tensor([1.0, 1.0, 0.0]))
    assert terms_of("rrhf", ranked).figures["ranked_share"] == (1, 1)
    wrong = predictions_of([0.8, 1.2], [0.4])
    torch.testing.assert_close(gradient("rrhf", wrong), torch.tensor([1.5, 1.5, -1.0]))
    assert loss_of("rrhf", wrong) == pytest.approx(2.0 + 0.6, abs=1e-6)
    figures = terms_of("rrhf", wrong).figures
    assert figures["ranked_share"] == (0, 1)
    assert float(figures["best_nll"][0]) / float(figures["best_nll"][1]) == pytest.approx(1.0)


def test_rrhf_learns_the_response_if_its_reward_is_higher_and_ranks_nothing_if_both_are_equal() -> None:
    found = gradient("rrhf", predictions_of([0.1, 0.3], [0.9], rewards=(0.0, 1.0)))
    torch.testing.assert_close(found, torch.tensor([-0.5, -0.5, 2.0]))
    found = gradient("rrhf", predictions_of([0.8, 1.2], [0.4], rewards=(1.0, 1.0)))
    torch.testing.assert_close(found, torch.tensor([1.0, 1.0, 0.0]))


def test_the_gradient_of_dft_on_a_token_is_its_probability() -> None:
    nll = torch.tensor([0.0, 1e-9, 0.5, 3.0, 200.0], requires_grad=True)
    for method in ("dft", "dft_reference"):
        nll.grad = None
        terms_of(method, Predictions(nll, torch.ones(5))).loss.backward()
        torch.testing.assert_close(nll.grad, (-nll.detach()).exp())


def test_dft_reports_the_nll_of_all_tokens_not_its_own_loss() -> None:
    total, count = terms_of("dft", Predictions(torch.tensor([0.5, 3.0]), torch.ones(2))).figures[
        "positive_nll"
    ]
    assert (float(total), float(count)) == (3.5, 2)


@pytest.mark.parametrize("method", PAIRED)
def test_certain_and_impossible_answers_have_finite_losses_and_gradients(method: str) -> None:
    certain, impossible = [0.0] * 3, [1e4] * 3
    for revision, response in ((certain, impossible), (impossible, certain), (certain, certain)):
        predictions = predictions_of(revision, response, reference=[-1.0] * 6)
        found = gradient(method, predictions)
        assert bool(torch.isfinite(found).all())
        assert math.isfinite(loss_of(method, predictions))


@pytest.mark.parametrize("method", REFERENCED)
def test_a_small_change_of_a_long_answer_is_not_lost_in_its_sum(method: str) -> None:
    """Two answers of 100,000 tokens and a total NLL of 500,000, of which 0.1 is new."""
    before = torch.full((200_000,), 5.0)
    nll = before.clone()
    nll[:1000] -= 1e-4
    predictions = Predictions(
        nll_K=nll,
        weights_K=torch.ones(len(nll)),
        counts=(100_000, 100_000),
        pairs=(0, 0),
        answers=("revision", "response"),
        rewards=(1.0, 0.0),
        reference_log_probs_K=-before,
    )
    margin = float(terms_of(method, predictions, preference_beta=1.0).figures["reward_margin"][0])
    assert margin == pytest.approx(0.1, rel=5e-3)


def test_answers_of_a_pair_are_found_wherever_they_are_in_a_micro_batch() -> None:
    nlls = {
        (7, "revision"): [0.1],
        (7, "response"): [2.0, 2.0],
        (3, "revision"): [0.5],
        (3, "response"): [0.5],
    }
    orders = (list(nlls), list(nlls)[::-1], [list(nlls)[place] for place in (2, 0, 3, 1)])
    losses = []
    for order in orders:
        nll = torch.tensor([value for key in order for value in nlls[key]])
        counts, pairs = tuple(len(nlls[key]) for key in order), tuple(pair for pair, _ in order)
        answers = tuple(answer for _, answer in order)
        predictions = Predictions(nll, torch.ones(5), counts, pairs, answers)  # pyright: ignore[reportArgumentType]
        losses.append(loss_of("simpo", predictions))
    expected = -math.log(1 / (1 + math.exp(-(2 * 1.9 - 1)))) - math.log(1 / (1 + math.exp(1)))
    assert losses == pytest.approx([expected] * 3, abs=1e-6)
