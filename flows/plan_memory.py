"""The part of `figa plan` about the memory of the training."""

from collections.abc import Iterator

from figa_core.config import PipelineConfig
from figa_core.training.device_memory import devices_here, gpus_of
from figa_core.training.memory_report import TrainingMemory


def memory_lines(config: PipelineConfig, device_gb: float | None) -> Iterator[str]:
    """For people: on the devices of this machine, or on GPUs of so many gigabytes, one for each rank."""
    training = config.training
    devices = devices_here() if device_gb is None else gpus_of(device_gb, training.processes)
    longest = config.weighting.max_length
    memory = TrainingMemory(training, config.generation.model, devices, max_length=longest)
    yield from (f"training: {line}" for line in memory.lines())
