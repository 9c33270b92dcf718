"""The operations of a training by reinforcement learning, counted as for others (`evaluation/cost.py`).

With N parameters of the model, R of a reward model, S tokens of prompts and samples, and S' tokens that the
reward model reads, in its own template (programs are not counted):

    2·N·S            generation: each token once, the others are in the cache
    2·R·S'           rewards, of each reward model
    2·N·S            the base model's probabilities of the samples, if the method is held to it
    2·N·S            the probabilities before the step, where they are computed once more (RLOO)
    2·N·S            values of the value model, which has the model's size (PPO)
    6·N·S·passes     training, and as much for the value model (PPO)

Padding is not counted, as in the other methods' costs.
"""

from dataclasses import dataclass

from figa_core.evaluation.cost import forward_flops, training_flops
from figa_core.rl.methods import RlMethod


@dataclass(frozen=True, slots=True)
class RlTokens:
    """`sequences`: of prompts and samples; `generated`: sampled; `scored`: read by reward models."""

    sequences: int
    generated: int
    scored: tuple["Scored", ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """The tokens that a reward model of so many parameters reads."""

    parameters: int
    tokens: int


def rl_flops(method: RlMethod, *, kl_weight: float, parameters: int, tokens: RlTokens) -> float:
    """The operations of a whole training."""
    forward = forward_flops(parameters, tokens.sequences)
    models = 2 if method.has_values else 1
    passes_without_gradients = 1 + (kl_weight > 0) + method.scores_samples + method.has_values
    return (
        passes_without_gradients * forward
        + sum(forward_flops(each.parameters, each.tokens) for each in tokens.scored)
        + models * method.passes * training_flops(parameters, tokens.sequences)
    )
