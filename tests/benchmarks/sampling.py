"""Samples the resident memory and CPU time of other processes, by default every second."""

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds since 1970, resident MB (1e6 bytes), CPU seconds so far."""

    at: float
    rss_mb: float
    cpu_s: float


class Sampler:
    """Samples named processes within its context, and once more at the end."""

    def __init__(self, every_s: float = _EVERY_S, /, **pids: int) -> None:
        self._every_s = every_s
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.samples: dict[str, list[Sample]] = {name: [] for name in pids}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def cpu_s(self, name: str) -> float:
        """CPU seconds of a process between the first and the last sample."""
        samples = self.samples[name]
        return samples[-1].cpu_s - samples[0].cpu_s

    def peak_rss_mb(self, name: str, begun: float = 0.0, ended: float = float("inf")) -> float:
        """The peak resident memory of a process within a period; of the nearest sample if it has none."""
        within = [sample.rss_mb for sample in self.samples[name] if begun <= sample.at <= ended]
        return max(within, default=0.0) or self.rss_mb(name, begun if begun > 0.0 else ended)

    def rss_mb(self, name: str, at: float) -> float:
        """The resident memory of a process in the sample nearest to a time."""
        return min(self.samples[name], key=lambda sample: abs(sample.at - at)).rss_mb

    def _watch(self) -> None:
        while not self._stopped.wait(self._every_s):
            self._sample()

    def _sample(self) -> None:
        for name, process in self._processes.items():
            try:
                with process.oneshot():
                    times, rss = process.cpu_times(), process.memory_info().rss
            except psutil.Error:
                continue  # it has ended
            if rss:  # 0 for a process that has ended and was not waited for
                self.samples[name].append(Sample(time.time(), rss / 1e6, times.user + times.system))

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._sample()
