"""The store of `[storage] artifacts`: whether it can be used from here."""

from collections.abc import Iterator

from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError
from figa_core.findings import Finding, problem
from flows.checks.facts import Facts

_MOMENT_S = 20.0
"""A server that is overloaded for a moment is no problem; one that is away is said before the run starts."""


def check_store(facts: Facts) -> Iterator[Finding]:
    """A small file can be written there, read and removed; raises ConfigError if its library is missing."""
    url = facts.config.storage.artifacts
    if url is None:
        return
    if facts.config.training.nodes > 1:
        yield problem("training.nodes", TOGETHER)
    try:
        Store(url).patient(_MOMENT_S).check()
    except ArtifactsError as error:
        yield problem("storage.artifacts", str(error))


TOGETHER = (
    "the machines of one training meet on a disk that they share. Set training.nodes = 1, or "
    'storage.artifacts = "none" and share the disk of the workspace.'
)
