"""How much a method may generate, and in steps of which size.

The pairs that FIGA learns from cost generated tokens: the drafts that were sampled, of all training prompts,
and the reviser's answers, those included that did not become a pair. A method of reinforcement learning gets
as many tokens of its own samples, or a multiple. Prompts are not counted on either side, and neither are the
passes without generation, which the FLOPs contain (`cost.py`).
"""

from dataclasses import dataclass

_UPDATES = 24  # as few as `training.pairs_per_step = "auto"` makes, see `training/step_size.py`
_MOST = 128
_LEAST = 8


@dataclass(frozen=True, slots=True)
class DataTokens:
    """What the pairs of a run cost, in generated tokens: `drafted` for `drafts` samples, each with its end of
    turn, and `answered` by the reviser, as its provider counts.
    """

    drafts: int
    drafted: int
    answered: int

    def budget(self, *, share: float, times: float) -> int:
        """The tokens that a method may generate: `times` those of this `share` of the pairs."""
        return round((self.drafted + self.answered) * share * times)

    @property
    def mean(self) -> float:
        """The tokens of a mean draft: what a sample is expected to cost at the start."""
        return self.drafted / self.drafts if self.drafts else 0.0


def samples_per_step(budget: int, mean_tokens: float, *, of_prompt: int, prompts: int) -> int:
    """The samples of one optimizer step, a power of two.

    At most 128, and fewer for a small budget, so that it lasts for 24 updates. At least eight, and all
    samples of one prompt; but no more than all prompts have at once.
    """
    wanted = budget / max(mean_tokens, 1.0) / _UPDATES
    least = max(_LEAST, of_prompt)
    return _power_of_two(min(_MOST, max(wanted, least), prompts * of_prompt))


def expected_steps(budget: int, mean_tokens: float, samples: int) -> int:
    """About how many steps the budget lasts, at least one."""
    return max(1, round(budget / max(samples * mean_tokens, 1.0)))


def is_spent(budget: int, spent: int, steps: int) -> bool:
    """Whether another step like those before would end farther from the budget than now.

    So a training ends at most half a step below or above its budget, but has at least one step.
    """
    return steps > 0 and spent + spent / steps / 2 >= budget


def samples_per_batch(samples: int, longest: int, tokens_per_batch: int) -> int:
    """The samples that go through the model at once: a divisor of those of a step, for a token budget."""
    return min(samples, _power_of_two(max(1, tokens_per_batch // max(1, longest))))


def _power_of_two(number: float) -> int:
    """The largest one that is not above the number."""
    return 1 << (max(1, int(number)).bit_length() - 1)
