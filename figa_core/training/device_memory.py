"""The devices of trainings on this machine, found without torch where there is no accelerator."""

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil

from figa_core.inference.choice import GPU
from figa_core.inference.devices import transformers_device

_QUERY = ("--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits")
_TIMEOUT_S = 20
_MIB = 2**20
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Devices:
    """GPUs, of which each rank gets one, or the CPU's memory, which all ranks share.

    `total` and `free` are bytes of the smallest GPU, or of the machine's memory; 0 if they are not known.
    `host_total` and `host_free` are those of the memory of a machine with GPUs; 0 likewise.
    """

    kind: Literal["cpu", "gpu"]
    count: int
    total: int
    free: int
    host_total: int = 0
    host_free: int = 0

    def of_rank(self, ranks: int) -> int:
        """The bytes that each of so many ranks on this machine can have."""
        return self.total if self.kind == "gpu" else self.total // ranks

    def free_of_rank(self, ranks: int) -> int:
        """The bytes of them that are free now."""
        return self.free if self.kind == "gpu" else self.free // ranks


def devices_here() -> Devices:
    """Those that a training would use."""
    memory = _memory()
    if transformers_device() != GPU:
        return memory
    return replace(_gpus(), host_total=memory.total, host_free=memory.free)


def gpus_of(gigabytes: float, count: int) -> Devices:
    """GPUs of a given size (1e9 bytes), which need not be here."""
    size = round(gigabytes * 1e9)
    return Devices("gpu", count, size, size)


def _memory() -> Devices:
    memory = psutil.virtual_memory()
    limit = memory.total
    with contextlib.suppress(OSError, ValueError):  # no container, or no limit ("max")
        limit = min(limit, int(_CGROUP_LIMIT.read_text(encoding="ascii")))
    return Devices("cpu", 1, limit, min(limit, memory.available))


def _gpus() -> Devices:
    unknown = Devices("gpu", 0, 0, 0)
    program = shutil.which("nvidia-smi")
    if program is None:
        return unknown
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = [program, *_QUERY, *(["--id", chosen] if chosen else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        return gpus_in(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return unknown


def gpus_in(report: str) -> Devices:
    """From nvidia-smi's lines of total and free MiB.

    Raises:
        ValueError: they are not such lines ("[N/A]" with unified memory).
    """
    rows = [tuple(int(value) * _MIB for value in line.split(",")) for line in report.strip().splitlines()]
    if not rows or any(len(row) != 2 for row in rows):
        raise ValueError(f"not a report of GPUs: {report[:200]!r}")
    return Devices("gpu", len(rows), min(row[0] for row in rows), min(row[1] for row in rows))
