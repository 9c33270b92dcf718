"""Memory and devices: whether this machine can run the training."""

from collections.abc import Iterator

from figa_core.findings import Finding, problem, warning
from figa_core.training.device_memory import Devices, devices_here
from figa_core.training.memory_report import TrainingMemory
from figa_core.training.quantized import cannot_quantize
from flows.checks.facts import Facts
from flows.server.api import configured_url
from flows.server.elsewhere import started_by_worker


def check_memory(facts: Facts) -> Iterator[Finding]:
    """A problem if the training will run here, and otherwise a warning: it may run on a larger machine."""
    here = not facts.planning and not started_by_worker() and configured_url() is None
    yield from findings(facts, devices_here(), here=here)


def findings(facts: Facts, devices: Devices, *, here: bool) -> Iterator[Finding]:
    """What these devices lack. `here`: the training is certain to run on them."""
    training = facts.config.training
    if text := cannot_quantize(training, devices):
        setting, _, words = text.partition(": ")
        yield problem(setting, words) if here else warning(setting, f"here it will be refused: {words}")
    memory = TrainingMemory(training, facts.config.generation.model, devices)
    if text := memory.problem():
        yield problem("training", text) if here else warning("training", f"here it will be refused: {text}")
