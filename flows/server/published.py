"""Makes a run's report available over HTTP: browsers follow no link from a web page to a file."""

import hashlib
import logging
import os
from pathlib import Path

from figa_core.files import write_whole

DIRECTORY_VARIABLE = "FIGA_REPORTS_DIR"
URL_VARIABLE = "FIGA_REPORTS_URL"

_logger = logging.getLogger(__name__)


def published_url(report: Path) -> str | None:
    """Copy a report into the directory FIGA_REPORTS_DIR of a web server; returns its address.

    FIGA_REPORTS_URL is the directory's address; `make serve` sets both. None if they are not set.
    """
    directory, url = os.environ.get(DIRECTORY_VARIABLE), os.environ.get(URL_VARIABLE)
    if not directory or not url:
        return None
    # Two workspaces may have the same run.
    suffix = hashlib.sha256(str(report.resolve()).encode()).hexdigest()[:8]
    target = Path(directory) / f"{report.stem}-{suffix}{report.suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, report.read_bytes())
    except OSError as error:
        _logger.warning("the report %s could not be copied for the UI: %s", report, error)
        return None
    return f"{url.rstrip('/')}/{target.name}"
