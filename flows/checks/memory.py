"""Memory: whether the training can fit into the devices of this machine."""

from collections.abc import Iterator

from figa_core.findings import Finding, warning
from figa_core.training.device_memory import devices_here
from figa_core.training.memory_report import TrainingMemory
from flows.checks.facts import Facts


def check_memory(facts: Facts) -> Iterator[Finding]:
    """Only a warning: the training may run on another machine, and is refused there if it cannot fit."""
    memory = TrainingMemory(facts.config.training, facts.config.generation.model, devices_here())
    if found := memory.problem():
        yield warning("training", f"here it will be refused: {found}")
