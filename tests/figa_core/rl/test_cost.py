"""The operations of each method, added up by hand."""

import pytest

from figa_core.rl.cost import RlTokens, Scored, rl_flops
from figa_core.rl.methods import rl_method

TOKENS = RlTokens(sequences=1000, generated=400, scored=(Scored(3, 1100), Scored(5, 900)))
POLICY = 7
FORWARD, TRAINED, SCORED = 2 * 7 * 1000, 6 * 7 * 1000, 2 * 3 * 1100 + 2 * 5 * 900


@pytest.mark.parametrize(
    ("name", "kl_weight", "flops"),
    [
        ("grpo", 0.04, 2 * FORWARD + TRAINED + SCORED),  # generation, base model
        ("grpo", 0.0, FORWARD + TRAINED + SCORED),  # without a base model
        ("rloo", 0.05, 3 * FORWARD + TRAINED + SCORED),  # and the model's own probabilities
        ("ppo", 0.05, 3 * FORWARD + 2 * 4 * TRAINED + SCORED),  # values; two models, four passes
    ],
)
def test_every_pass_counts(name: str, kl_weight: float, flops: float) -> None:
    found = rl_flops(
        rl_method(name),
        kl_weight=kl_weight,
        parameters=POLICY,
        tokens=TOKENS,
    )
    assert found == flops
