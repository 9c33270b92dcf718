"""What a contender's process tells of itself: seconds of every step, and memory.

Nothing of figa_core here: TRL's environment imports it.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_GB = 1e9


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: wall seconds, pairs trained on, FLOPs executed by the formula of `flops`."""

    seconds: float
    pairs: float
    flops: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A process's timed steps (the warm-up is left out) and memory in GB (1e9 bytes).

    Attributes:
        peak_gb: most memory the process (on CUDA: the device's allocator) ever held.
        above_gb: most memory during the steps, less what was held before the first one (imports, weights).
    """

    steps: tuple[Step, ...]
    peak_gb: float
    above_gb: float

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        """Read what `save` wrote."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(tuple(Step(**step) for step in fields["steps"]), fields["peak_gb"], fields["above_gb"])


class MemoryWatch:
    """Made just before the first step."""

    def __init__(self) -> None:
        self._cuda = _cuda()
        self._held, self._peak_before = self._now()
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            _reset_peak_rss()

    def outcome(self, steps: list[Step]) -> Outcome:
        """Called after the last step."""
        _, peak = self._now()
        return Outcome(tuple(steps), max(peak, self._peak_before) / _GB, (peak - self._held) / _GB)

    def _now(self) -> tuple[int, int]:
        if self._cuda:
            import torch

            return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
        return _status("VmRSS"), _status("VmHWM")


def finished_clock() -> float:
    """`time.perf_counter` once the device has done what it was given: Python runs ahead of a GPU."""
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


def _reset_peak_rss() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
