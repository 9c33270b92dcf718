"""Measures the peak memory of a run and its child processes."""

import threading
from typing import Self

import psutil

_EVERY_S = 1.0


class PeakMemory:
    """The largest sum of the resident memory of this process and its descendants, sampled every second.

    Pages that processes share are counted in each of them, so the figure is an upper bound.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        this = psutil.Process()
        while True:
            total = 0
            for process in (this, *this.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue  # it has just ended
            self.peak_bytes = max(self.peak_bytes, total)
            if self._stopped.wait(_EVERY_S):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
