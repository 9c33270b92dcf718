"""Starts a module of the benchmarks in its own process."""

import sys
from collections.abc import Collection
from pathlib import Path

from figa_core.processes.child import Child
from figa_core.processes.children import child_environment

ROOT = Path(__file__).resolve().parents[2]


def start(
    module: str,
    arguments: Collection[str | Path],
    log: Path,
    *,
    python: Path = Path(sys.executable),
    without: Collection[str] = (),
    takes_input: bool = False,
    **environment: str,
) -> Child:
    """``python -m tests.benchmarks.MODULE …`` in this environment less `without`, plus `environment`."""
    inherited = child_environment(PYTHONPATH=str(ROOT), **environment)
    return Child(
        [str(python), "-m", f"tests.benchmarks.{module}", *map(str, arguments)],
        log,
        environment={name: value for name, value in inherited.items() if name not in without},
        takes_input=takes_input,
    )


def wait_for(child: Child, name: str, timeout_s: float = float("inf")) -> None:
    """Wait until a process ends; raises RuntimeError like `require_success`."""
    try:
        child.wait_until(lambda: False, timeout_s=timeout_s)
    finally:
        child.kill()
    require_success(child, name)


def require_success(child: Child, name: str) -> None:
    """Raises RuntimeError with the end of its log if a process that has ended failed."""
    if child.exit_code != 0:
        raise RuntimeError(f"{name} ended with code {child.exit_code}:\n{child.log_tail(40)}")
