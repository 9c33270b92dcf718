"""Settings against each other: what cannot work together, whatever the files hold."""

from collections.abc import Iterator

from figa_core.findings import Finding, problem
from flows.checks.facts import Facts


def check_settings(facts: Facts) -> Iterator[Finding]:
    """Everything that the config alone tells."""
    config = facts.config
    if config.loss.objective in config.evaluation.baselines:
        yield problem(
            "evaluation.baselines", f"{config.loss.objective} is the main objective already. Take it out."
        )
    if config.weighting.max_length > config.training.tokens_per_batch:
        yield problem(
            "",
            f"weighting.max_length is {config.weighting.max_length} tokens, and a forward pass takes "
            f"training.tokens_per_batch = {config.training.tokens_per_batch}. Raise that, or lower this.",
        )
