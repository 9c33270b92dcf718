"""Shows the log of `figa_core`, such as errors of its child processes, in the run's log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging.handlers import APILogHandler


@contextmanager
def library_logs() -> Iterator[None]:
    """Send the library's log to the Prefect server as part of the current run, from level INFO.

    Prefect's setting PREFECT_LOGGING_EXTRA_LOGGERS would send it from level WARNING only.
    """
    logger, handler = logging.getLogger("figa_core"), APILogHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
