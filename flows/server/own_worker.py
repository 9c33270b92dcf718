"""What a run on a pool needs of the worker that executes it: see `check_own_worker`."""

from flows.progress import current
from flows.server.clocks import check_clock
from flows.server.versions import about_code, check_version


def check_own_worker() -> None:
    """Refuse a run at its start that would end badly here; other code of the same version is a line.

    Raises:
        ConfigError: the deployments were made by another version than runs here, or the clocks of this
            machine and of the Prefect server differ.
    """
    check_version()
    check_clock()
    if (line := about_code()) is not None:
        current().line(f"warning: {line}")
