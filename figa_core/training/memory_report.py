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
from figa_core.training.memory_advice import advice, fits
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

    Of an adapter it is the base model's. `weighted_tokens` as in `setup_of`. Creating it raises EngineError
    if the model has no readable config.json.
    """

    def __init__(
        self,
        training: TrainingConfig,
        model: Path,
        devices: Devices,
        *,
        max_length: int = TOKENS_MAX,
        weighted_tokens: int | None = None,
    ) -> None:
        self.devices, base = devices, underlying(model)
        self.shape: ModelShape = model_shape(read_config(base), read_weights(base).tensors)
        self._stored_in = checkpoint_dtype(base)
        self.setup: Setup = setup_of(
            training,
            kind=devices.kind,
            checkpoint_dtype=self._stored_in,
            max_length=max_length,
            weighted_tokens=weighted_tokens,
        )
        self.plan: MemoryPlan = memory_plan(self.shape, self.setup)

    @property
    def fits(self) -> bool:
        """Whether all of it fits into the devices and the machine's memory, were they empty."""
        return fits(self.shape, self.setup, self.devices)

    def problem(self) -> str | None:
        """Why the training cannot work: a rank has no GPU, or what is held whatever the data has no room."""
        if lacking := self._too_few_devices():
            return lacking
        ranks, plan = self.setup.ranks_of_node, self.plan
        least = plan.device.least
        if self.devices.kind == "cpu":
            least = max(least, self._loading_least())
        if self.devices.total and least > self.devices.of_rank(ranks):
            return f"the model is too large for {self._devices()}. " + " ".join(self.lines())
        host = self.devices.host_total
        if host and ranks * max(plan.host, self._loading_least()) > host:
            return f"the model is too large for {self._machine()}. " + " ".join(self.lines())
        return None

    def warning(self) -> str | None:
        """Why it may fail: the plan exceeds what the devices have free."""
        ranks, plan = self.setup.ranks_of_node, self.plan
        needed = max(plan.device.total, plan.loading) if self.devices.kind == "cpu" else plan.device.total
        if self.devices.total and needed > self.devices.free_of_rank(ranks):
            where = self._devices()
        elif self.devices.host_total and ranks * plan.host_peak > self.devices.host_free:
            where = self._machine()
        else:
            return None
        return f"the training may need more memory than {where} has free. " + " ".join(self.lines())

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
            f"{setup.tokens_per_batch:,} tokens and activations {again}. {self._logits()}"
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

    def _logits(self) -> str:
        share = self.setup.weighted_share
        if share is None:
            return "The logits are at most so many, if every token counts."
        return f"The logits are of {share:.0%} of the tokens, the most in the first steps of the shards."

    def _verdict(self) -> str:
        if lacking := self._too_few_devices():
            return f"It cannot run here: {lacking}"
        if not self.devices.total:
            return "How much memory the GPUs here have is not known; --device-gb tells figa plan."
        where = self._devices()
        if self.devices.host_total:
            where += f" and {self._machine()}"
        if self.fits:
            return f"It fits into {where}."
        found = advice(self.shape, self.setup, self.devices)
        if found is None:
            return f"It does not fit into {where}, whatever the settings: take a smaller model."
        return f"It does not fit into {where}. It would with {' and '.join(found.words)}."

    def _too_few_devices(self) -> str | None:
        ranks, gpus = self.setup.ranks_of_node, self.devices.count
        if self.devices.kind == "cpu" or not gpus or ranks <= gpus:
            return None
        return (
            f"training.processes is {ranks}, each rank needs a GPU of its own, and this machine shows {gpus}."
            f" Set training.processes to {gpus}, or name more GPUs in CUDA_VISIBLE_DEVICES."
        )

    def _loading_least(self) -> int:
        """The host memory of a rank that loading takes in any case.

        Weights that are loaded as they are stored may stay in the file's pages, which the system can drop.
        """
        if self.setup.stage == 3 or self._stored_in != "float32":
            return self.plan.loading
        return max(self.plan.loading - 4 * self.shape.parameters, 0)

    def _devices(self) -> str:
        if self.devices.kind == "gpu":
            return f"a GPU of {_gb(self.devices.total)}"
        return f"this machine's memory of {_gb(self.devices.total)}{self._shared()}"

    def _machine(self) -> str:
        return f"this machine's memory of {_gb(self.devices.host_total)}{self._shared()}"

    def _shared(self) -> str:
        ranks = self.setup.ranks_of_node
        return "" if ranks == 1 else f", which {ranks} ranks share"


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"
