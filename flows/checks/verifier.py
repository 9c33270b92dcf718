"""The verifier: imported, and tried on one row."""

from collections.abc import Iterator

from figa_core.findings import Finding
from flows.checks.facts import Facts
from tasks.evaluate import load_verifier


def check_verifier(facts: Facts) -> Iterator[Finding]:
    """It can be imported; raises ConfigError."""
    if facts.config.evaluation.verifier is not None:
        load_verifier(facts.config.evaluation.verifier)
    yield from ()
