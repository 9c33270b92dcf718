"""Where a browser finds a run's report: browsers follow no link from a web page to a file."""

import os
import shutil
from pathlib import Path

DIRECTORY_VARIABLE = "FIGA_REPORTS_DIR"
URL_VARIABLE = "FIGA_REPORTS_URL"


def published_url(report: Path) -> str | None:
    """Copy a report to where a web server has it, and say its address; None if no server is configured.

    FIGA_REPORTS_DIR names the directory and FIGA_REPORTS_URL its address; `make serve` sets both.
    """
    directory, url = os.environ.get(DIRECTORY_VARIABLE), os.environ.get(URL_VARIABLE)
    if not directory or not url:
        return None
    target = Path(directory) / report.name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copyfile(report, partial)
    partial.replace(target)
    return f"{url.rstrip('/')}/{target.name}"
