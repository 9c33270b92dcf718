"""How busy other processes are during a measurement: on two cores they can halve a contender's speed."""

import os
import resource
import time
from dataclasses import dataclass, field

import psutil


@dataclass(slots=True)
class OtherWork:
    """Cores used since its creation by other processes than this one and the children it has waited for."""

    _begun: float = field(default_factory=time.perf_counter)
    _busy: float = field(default_factory=lambda: _busy_seconds())
    _own: float = field(default_factory=lambda: _own_seconds())

    def cores(self) -> float:
        """Mean number of cores; 0 on an idle machine."""
        others = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        return max(0.0, others / (time.perf_counter() - self._begun))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def _own_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    mine = os.times()
    return children.ru_utime + children.ru_stime + mine.user + mine.system
