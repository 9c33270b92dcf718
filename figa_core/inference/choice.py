"""Estimates which engine finishes sooner: transformers in this process, or vLLM, which has to start first.

vLLM is faster once it is up, but takes 15 to 60 seconds to start: nearly all of the time for a dozen rows,
and nothing for a night's work. Rough estimates suffice, because near the border both take the same time.
No id depends on the engine, so stored rows stay valid whichever is chosen for the rest.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """The rows, the mean tokens read per row, and the most tokens written per row (0: scoring)."""

    rows: int
    tokens_read: float
    tokens_written: int = 0


@dataclass(frozen=True, slots=True)
class ModelSize:
    """A checkpoint's parameters, bytes of its weights, and layers."""

    parameters: float
    weights_bytes: float
    layers: int


@dataclass(frozen=True, slots=True)
class Device:
    """The speed of a kind of machine, for an estimate."""

    pass_s: float  # seconds of a forward pass besides its layers: sampling, and Python
    layer_s: float  # seconds of one layer in a forward pass, however small
    token_s: float  # seconds for a written token besides arithmetic: its cache is copied at every step
    memory_bytes_s: float  # bytes of weights read per second; every step of a generation reads all of them
    flops: float  # floating-point operations per second
    load_s: float  # seconds until transformers is imported
    load_bytes_s: float  # bytes of weights loaded per second, by either engine
    vllm_start_s: float  # seconds until vLLM accepts work, without the weights
    generation_gain: float  # how many times faster vLLM generates once it is up
    scoring_gain: float  # the same for scoring, which is one forward pass for either


CPU = Device(
    pass_s=3e-3,
    layer_s=1e-3,
    token_s=2e-4,
    memory_bytes_s=1e10,
    flops=5e10,
    load_s=3.0,
    load_bytes_s=5e8,
    vllm_start_s=15.0,
    generation_gain=3.0,
    scoring_gain=1.0,
)
"""Measured on two cores of a 2.5 GHz Xeon; figa_core/README.md, "Measured", has the figures."""

GPU = Device(
    pass_s=2e-3,
    layer_s=1e-3,
    token_s=2e-6,
    memory_bytes_s=1e12,
    flops=1e14,
    load_s=5.0,
    load_bytes_s=1e9,
    vllm_start_s=45.0,
    generation_gain=6.0,
    scoring_gain=1.5,
)
"""Typical values, not measured: vLLM compiles and captures graphs when it starts, which saves dispatching
later.
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds to start, and then for the work."""

    start: float
    work: float

    @property
    def total(self) -> float:
        return self.start + self.work


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether vLLM is chosen, and the reason, for people."""

    vllm: bool
    reason: str


def choose(ours: Estimate, theirs: Estimate, *, vllm_is_up: bool) -> Choice:
    """The engine that finishes sooner, by the estimates for transformers (`ours`) and vLLM (`theirs`)."""
    if vllm_is_up and theirs.work <= ours.total:
        return Choice(True, "vLLM is up with this model already")
    own, other = _duration(ours.total), _duration(theirs.total)
    if theirs.total < ours.total:
        return Choice(True, f"about {other}; transformers would take {own}")
    if vllm_is_up:
        other = _duration(theirs.work)
    elif theirs.start > ours.total:
        other = f"{_duration(theirs.start)} to start alone"
    else:
        other += ", its start included"
    return Choice(False, f"about {own}; vLLM would take {other}")


def by_transformers(
    work: Work, model: ModelSize, device: Device, tokens_per_batch: int, *, imported: bool
) -> Estimate:
    """The time with transformers, in padded batches of `tokens_per_batch` tokens.

    `imported`: whether this process has already imported it.
    """
    start = (0.0 if imported else device.load_s) + model.weights_bytes / device.load_bytes_s
    return Estimate(start, _seconds(work, model, device, tokens_per_batch))


def by_vllm(work: Work, model: ModelSize, device: Device, tokens_per_batch: int) -> Estimate:
    """The time with vLLM: its start, then a share of what transformers would take on the same device."""
    gain = device.generation_gain if work.tokens_written else device.scoring_gain
    return Estimate(vllm_start_seconds(model, device), _seconds(work, model, device, tokens_per_batch) / gain)


def vllm_start_seconds(model: ModelSize, device: Device) -> float:
    return device.vllm_start_s + model.weights_bytes / device.load_bytes_s


def _seconds(work: Work, model: ModelSize, device: Device, tokens_per_batch: int) -> float:
    tokens = work.rows * (work.tokens_read + work.tokens_written)
    batches = max(1.0, tokens / tokens_per_batch)
    passes = batches * max(1, work.tokens_written)
    one_pass = device.pass_s + model.layers * device.layer_s + model.weights_bytes / device.memory_bytes_s
    arithmetic = tokens * 2 * model.parameters / device.flops
    return passes * one_pass + work.rows * work.tokens_written * device.token_s + arithmetic


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
