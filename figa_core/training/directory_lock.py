"""One process at a time works on a directory; the others wait for its result."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from figa_core.processes import interruption

_LOGGER = logging.getLogger("figa_core.training")
_LOCK_POLL_S = 0.5


@contextlib.contextmanager
def locked(output: Path, work: str) -> Iterator[None]:
    """Lock an output directory; the lock ends with its process, however that ends."""
    output.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output.with_name(f"{output.name}.lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOGGER.info("%s: another process is working on it; waiting for its result", work)
        while not lock.is_locked:
            interruption.check()
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=_LOCK_POLL_S)
    try:
        yield
    finally:
        lock.release()
