"""The methods of reinforcement learning, by the names that `compare.methods` accepts.

None of them is ours: TRL trains them, each in an environment of its own (`environments.py`). What is not
named here has TRL's default.

* PPO (Schulman et al. 2017, arXiv 1707.06347; for language models Ziegler et al. 2019, arXiv 1909.08593).
* GRPO (Shao et al. 2024, arXiv 2402.03300): β 0.04 as in its section 4.2; TRL's default is 0.
* RLOO (Ahmadian et al. 2024, arXiv 2402.14740): four samples of a prompt as in its section 4; TRL's default
  is two.
"""

from dataclasses import dataclass

from figa_core.errors import ConfigError
from figa_core.rl.environments import OF_PPO, OF_TRL, Environment


@dataclass(frozen=True, slots=True)
class RlMethod:
    """A method that learns from rewards of its own samples.

    Attributes:
        name: in the settings.
        label: in reports.
        environment: where its trainer runs.
        samples_per_prompt: whose rewards are compared in one step.
        kl_weight: β, how strongly the model is held to its base.
        passes: how often a step goes through the samples.
        has_values: a second model learns what each prefix is worth.
        takes_any_reward: its trainer takes a number for each sample; otherwise it takes one reward model.
        scores_samples: the sampled tokens' probabilities are computed once more before they are learnt from.
    """

    name: str
    label: str
    environment: Environment
    samples_per_prompt: int
    kl_weight: float
    passes: int = 1
    has_values: bool = False
    takes_any_reward: bool = True
    scores_samples: bool = False


_METHODS = {
    each.name: each
    for each in (
        RlMethod("grpo", "GRPO", OF_TRL, samples_per_prompt=8, kl_weight=0.04),
        RlMethod("rloo", "RLOO", OF_TRL, samples_per_prompt=4, kl_weight=0.05, scores_samples=True),
        RlMethod(
            "ppo",
            "PPO",
            OF_PPO,
            samples_per_prompt=1,
            kl_weight=0.05,
            passes=4,
            has_values=True,
            takes_any_reward=False,
        ),
    )
}


def rl_names() -> tuple[str, ...]:
    return tuple(_METHODS)


def is_rl(name: str) -> bool:
    """Whether a name in `compare.methods` is one of these, and not an objective on pairs."""
    return name in _METHODS


def rl_method(name: str) -> RlMethod:
    """The method of this name. Raises ConfigError if there is none."""
    if name not in _METHODS:
        raise ConfigError(
            f"there is no method {name!r} of reinforcement learning; use {', '.join(_METHODS)}."
        )
    return _METHODS[name]
