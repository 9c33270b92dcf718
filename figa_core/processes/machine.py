"""Which machine and container this is: host names and process ids alone are not unique."""

from contextlib import suppress
from pathlib import Path


def machine_id() -> str:
    """The same for two processes if they know each other's process ids; empty if the system does not tell.

    It is of the machine's start and of the container: those of two hosts with one name differ.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""
