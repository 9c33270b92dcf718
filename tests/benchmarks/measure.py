"""A contender measures itself: seconds of every step, and memory.

It imports nothing of figa_core: TRL's environment imports it.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.json_file import JsonFile

_GB = 1e9


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: wall seconds, pairs, and executed FLOPs by the formula of `flops`."""

    seconds: float
    pairs: float
    flops: float


@dataclass(frozen=True, slots=True)
class Outcome(JsonFile):
    """A process's timed steps (without the warm-up) and memory in GB (1e9 bytes).

    Attributes:
        peak_gb: peak memory of the process (on CUDA: of the device's allocator).
        above_gb: peak during the steps, less the memory before the first one (imports, weights).
    """

    steps: tuple[Step, ...]
    peak_gb: float
    above_gb: float

    @classmethod
    def parsed(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """With steps."""
        return fields | {"steps": tuple(Step(**step) for step in fields["steps"])}


@dataclass(frozen=True, slots=True)
class Agreement(JsonFile):
    """The largest absolute difference of two gradients, over the reference's largest entry."""

    gradient_difference: float


class MemoryWatch:
    """Create it just before the first step."""

    def __init__(self) -> None:
        self._cuda = _cuda()
        self._held, self._peak_before = self._now()
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM

    def outcome(self, steps: list[Step]) -> Outcome:
        """Call it after the last step."""
        _, peak = self._now()
        return Outcome(tuple(steps), max(peak, self._peak_before) / _GB, (peak - self._held) / _GB)

    def _now(self) -> tuple[int, int]:
        if self._cuda:
            import torch

            return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
        return _status("VmRSS"), _status("VmHWM")


def finished_clock() -> float:
    """`time.perf_counter` once the device has finished its work: Python runs ahead of a GPU."""
    if _cuda():
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def _cuda() -> bool:
    if "torch" not in sys.modules:
        return False
    import torch

    return torch.cuda.is_available()


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}: memory is measured on Linux only")
