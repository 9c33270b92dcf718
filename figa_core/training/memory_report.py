"""A plan of memory in words, and whether a training may start with it."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from figa_core.config.training import TrainingConfig
from figa_core.config.values import TOKENS_MAX
from figa_core.inference.checkpoint import checkpoint_dtype
from figa_core.models.adapter import underlying
from figa_core.models.config_json import read_config
from figa_core.models.weight_files import read_weights
from figa_core.training.device_memory import Devices
from figa_core.training.memory_advice import advice
from figa_core.training.memory_plan import (
    MemoryPlan,
    ModelShape,
    Setup,
    memory_plan,
    model_shape,
    setup_of,
)


class TrainingMemory:
    """The plan of a training from a model's directory, on these devices and with sequences of `max_length`.

    Of an adapter it is the base model's. Creating it raises EngineError if the model has no readable
    config.json.
    """

    def __init__(
        self, training: TrainingConfig, model: Path, devices: Devices, *, max_length: int = TOKENS_MAX
    ) -> None:
        self.devices, base = devices, underlying(model)
        self.shape: ModelShape = model_shape(read_config(base), read_weights(base).tensors)
        self.setup: Setup = setup_of(
            training, kind=devices.kind, checkpoint_dtype=checkpoint_dtype(base), max_length=max_length
        )
        self.plan: MemoryPlan = memory_plan(self.shape, self.setup)

    @property
    def fits(self) -> bool:
        """Whether all of it fits into the devices, were they empty."""
        return self.plan.device.total <= self.devices.of_rank(self.setup.ranks_of_node)

    def problem(self) -> str | None:
        """Why the training cannot work: what it holds whatever the data exceeds the devices."""
        if not self.devices.total or self.plan.device.least <= self.devices.of_rank(self.setup.ranks_of_node):
            return None
        return f"the model is too large for {self._devices()}. " + " ".join(self.lines())

    def warning(self) -> str | None:
        """Why it may fail: the plan exceeds what the devices have free."""
        free = self.devices.free_of_rank(self.setup.ranks_of_node)
        if not self.devices.total or self.plan.device.total <= free:
            return None
        return f"the training may need more memory than {self._devices()} has free. " + " ".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        setup, device = self.setup, self.plan.device
        parts = ", ".join(
            f"{each.name} {_gb(size)}" for each in fields(device) if (size := getattr(device, each.name))
        )
        ranks = "one rank" if setup.ranks == 1 else f"each of {setup.ranks} ranks"
        again = "computed again" if setup.recompute else "kept"
        packed = " and the layers' matrices in 4 bits" if setup.quantize else ""
        yield (
            f"{self.shape.parameters:,} parameters: {ranks} needs at most about {_gb(device.total)} "
            f"({parts}), in {setup.dtype}{packed} with ZeRO-{setup.stage}, micro-batches of "
            f"{setup.tokens_per_batch:,} tokens and activations {again}."
        )
        elsewhere = {"in the host's memory": self.plan.host, "on disk": self.plan.disk}
        offloaded = " and ".join(f"{_gb(size)} {where}" for where, size in elsewhere.items() if size)
        if offloaded:
            yield f"Offloaded of each rank: {offloaded}."
        yield (
            f"Loading the model takes up to {_gb(self.plan.loading)} of the host's memory for each rank, a "
            f"checkpoint {_gb(self.plan.checkpoint)} of disk."
        )
        yield self._verdict()

    def _verdict(self) -> str:
        if not self.devices.total:
            return "How much memory the GPUs here have is not known; --device-gb tells figa plan."
        if self.fits:
            return f"It fits into {self._devices()}."
        found = advice(self.shape, self.setup, self.devices.of_rank(self.setup.ranks_of_node))
        if found is None:
            return f"It does not fit into {self._devices()}, whatever the settings: take a smaller model."
        return f"It does not fit into {self._devices()}. It would with {' and '.join(found.words)}."

    def _devices(self) -> str:
        if self.devices.kind == "gpu":
            return f"a GPU of {_gb(self.devices.total)}"
        ranks = self.setup.ranks_of_node
        shared = "" if ranks == 1 else f", which {ranks} ranks share"
        return f"this machine's memory of {_gb(self.devices.total)}{shared}"


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"
