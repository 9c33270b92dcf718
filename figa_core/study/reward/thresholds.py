"""A run's thresholds as quantiles of its scores, for reward models whose scale is another. Pure."""

from array import array
from collections.abc import Iterable

import numpy as np

from figa_core.config import FilterConfig
from figa_core.filtering import Candidate, Thresholds

_DIGITS = 4


def as_quantiles(
    config: FilterConfig, thresholds: Thresholds, candidates: Iterable[Candidate]
) -> FilterConfig:
    """The settings with each number as the quantile that it is of the run's scores.

    A quantile stays as it is. `thresholds` are the numbers that the run resolved. 24 bytes of each candidate
    are kept. A setting without values stays a number: then it decides nothing.
    """
    responses, references, gaps = array("d"), array("d"), array("d")
    for each in candidates:
        response, reference = each.response_reward, each.reference_reward
        if response is not None:
            responses.append(response)
        if reference is not None:
            references.append(reference)
            if response is not None:
                gaps.append(reference - response)
    found = {
        "response_reward_below": (thresholds.response_reward_below, responses),
        "reference_reward_above": (thresholds.reference_reward_above, references),
        "reward_gap_above": (thresholds.reward_gap_above, gaps),
    }
    changed = {
        name: quantile_of(value, values)
        for name, (value, values) in found.items()
        if len(values) and not isinstance(getattr(config, name), str)
    }
    return config.model_copy(update=changed)


def quantile_of(threshold: float, values: Iterable[float]) -> str:
    """Such as "q0.3125": the share of the values below the threshold, as a setting."""
    known = np.fromiter(values, dtype=np.float64)
    share = round(float(np.mean(known < threshold)), _DIGITS)
    return f"q{share:g}"
