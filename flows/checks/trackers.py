"""Experiment trackers: whether their libraries are installed."""

from collections.abc import Iterator

from figa_core.findings import Finding, problem
from figa_core.tracking.extras import missing
from flows.checks.facts import Facts


def check_libraries(facts: Facts) -> Iterator[Finding]:
    """Each tracker can be imported here; whether a service answers is found out when a training starts."""
    for text in missing(facts.config.tracking.to):
        yield problem("tracking.to", text)
