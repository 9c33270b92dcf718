"""What to change in a training's settings so that it fits its devices: the smallest change first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from figa_core.training.device_memory import Devices
from figa_core.training.memory_plan import ModelShape, Setup, memory_plan

_TOKENS_MIN = 256  # fewer tokens than this hold hardly one answer
_RANKS_MAX = 1024


@dataclass(frozen=True, slots=True)
class Advice:
    """Settings with which a training fits, and how to write them."""

    setup: Setup
    words: tuple[str, ...]


def advice(shape: ModelShape, setup: Setup, devices: Devices) -> Advice | None:
    """The first change that is enough by itself, or else the first so many that are; None if none are.

    In the order of their cost: time of a forward pass, speed, communication, machines.
    """
    for change in (*_CHANGES, _optimizer_here):
        changed = change(shape, setup, devices)
        if changed is not None and fits(shape, changed, devices):
            return Advice(changed, tuple(_words(setup, changed)))
    together = setup
    for change in _CHANGES:
        together = change(shape, together, devices) or together
        if fits(shape, together, devices):
            return Advice(together, tuple(_words(setup, together)))
    return None


def fits(shape: ModelShape, setup: Setup, devices: Devices) -> bool:
    """Whether a rank's memory fits into its device, and that of a node's ranks into the machine's."""
    plan, ranks = memory_plan(shape, setup), setup.ranks_of_node
    if devices.kind == "cpu":
        return max(plan.device.total, plan.loading) <= devices.of_rank(ranks)
    host = devices.host_total
    return plan.device.total <= devices.total and (not host or plan.host_peak * ranks <= host)


def _recompute(_shape: ModelShape, setup: Setup, _devices: Devices) -> Setup | None:
    return None if setup.recompute else replace(setup, recompute=True)


def _fewer_tokens(shape: ModelShape, setup: Setup, devices: Devices) -> Setup | None:
    """Half as many until it fits."""
    changed = setup
    while changed.tokens_per_batch // 2 >= _TOKENS_MIN and not fits(shape, changed, devices):
        changed = replace(changed, tokens_per_batch=changed.tokens_per_batch // 2)
    return None if changed == setup else changed


def _stage_3(_shape: ModelShape, setup: Setup, _devices: Devices) -> Setup | None:
    return replace(setup, stage=3) if setup.stage < 3 and setup.ranks > 1 else None


def _offload_optimizer(_shape: ModelShape, setup: Setup, _devices: Devices) -> Setup | None:
    if setup.kind == "cpu" or setup.optimizer_at != "device":
        return None
    return replace(setup, optimizer_at="host", stage=max(setup.stage, 2))


def _optimizer_here(_shape: ModelShape, setup: Setup, _devices: Devices) -> Setup | None:
    """For a machine that has less memory than its GPUs have."""
    if setup.kind == "cpu" or setup.optimizer_at != "host" or setup.optimizer == "adamw_cpu":
        return None
    return replace(setup, optimizer_at="device")


def _more_ranks(shape: ModelShape, setup: Setup, devices: Devices) -> Setup | None:
    """Twice as many until it fits, each with a device like the others, in ZeRO-3."""
    if setup.kind == "cpu":
        return None
    changed = replace(setup, stage=3)
    while changed.ranks * 2 <= _RANKS_MAX and not fits(shape, changed, devices):
        changed = replace(changed, ranks=changed.ranks * 2)
    return changed if changed.ranks > setup.ranks else None


# Each gives the settings after a change; None if it is made already, or impossible.
_CHANGES = (_recompute, _fewer_tokens, _stage_3, _offload_optimizer, _more_ranks)


def _words(before: Setup, after: Setup) -> Iterator[str]:
    if after.recompute and not before.recompute:
        yield "training.activation_checkpointing = true"
    if after.tokens_per_batch < before.tokens_per_batch:
        yield f"training.tokens_per_batch = {after.tokens_per_batch}"
    if after.stage != before.stage:
        yield f"training.zero_stage = {after.stage}"
    if after.optimizer_at == "device" != before.optimizer_at:
        yield "no training.deepspeed.zero_optimization.offload_optimizer"
    elif after.optimizer_at != before.optimizer_at:
        yield 'training.deepspeed.zero_optimization.offload_optimizer = { device = "cpu" }'
    if after.ranks > before.ranks:
        yield f"training.processes = {after.ranks_of_node}"
