"""Where a browser finds a run's report: browsers follow no link from a web page to a file."""

import hashlib
import logging
import os
from pathlib import Path

from figa_core.files import write_whole

DIRECTORY_VARIABLE = "FIGA_REPORTS_DIR"
URL_VARIABLE = "FIGA_REPORTS_URL"

_logger = logging.getLogger(__name__)


def published_url(report: Path) -> str | None:
    """Copy a report to where a web server finds it; its address, or None if there is no such place.

    FIGA_REPORTS_DIR names the directory and FIGA_REPORTS_URL its address; `make serve` sets both.
    """
    directory, url = os.environ.get(DIRECTORY_VARIABLE), os.environ.get(URL_VARIABLE)
    if not directory or not url:
        return None
    # Several workspaces may hold the same run.
    place = hashlib.sha256(str(report.resolve()).encode()).hexdigest()[:8]
    target = Path(directory) / f"{report.stem}-{place}{report.suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, report.read_bytes())
    except OSError as error:
        _logger.warning("the report %s is not served: %s", report, error)
        return None
    return f"{url.rstrip('/')}/{target.name}"
