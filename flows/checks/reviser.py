"""The reviser: its key, and what it is told."""

from collections.abc import Iterator

from figa_core.findings import Finding
from flows.checks.facts import Facts
from tasks.revise import api_key


def check_key(facts: Facts) -> Iterator[Finding]:
    """The key is there and can be sent, where the reviser is going to be asked; raises ConfigError."""
    if facts.needs_key:
        api_key(facts.config.revision)
    yield from ()


def check_templates(facts: Facts) -> Iterator[Finding]:
    """The prompt templates can be filled in; raises ConfigError."""
    _ = facts.templates
    yield from ()
