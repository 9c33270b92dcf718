"""Shows what `figa_core` logs, such as errors of its child processes, in the run's log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging.handlers import APILogHandler

_LIBRARY = "figa_core"


@contextmanager
def library_logs() -> Iterator[None]:
    """Send the library's log from INFO on to the Prefect server, as part of the current run.

    Prefect's setting PREFECT_LOGGING_EXTRA_LOGGERS does so from WARNING on only.
    """
    logger, handler = logging.getLogger(_LIBRARY), APILogHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
