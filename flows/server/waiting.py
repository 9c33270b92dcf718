"""What the runs of a Prefect server that have not ended name in a workspace: `figa clean` leaves it alone.

A training that waits for its turn on a pool has written nothing yet. Its parameters say what it needs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figa_core.errors import ConfigError, one_line
from flows.server.api import check_answers, configured_url
from flows.server.names import FLOWS

_AT_ONCE = 200
_ADVICE = (
    "What runs that wait there need is not known, so nothing is removed. Start that server, or unset the "
    "address (also in the Prefect profile) if nothing waits there."
)


def named_by_waiting_runs(directory: Path) -> set[Path]:
    """Paths in this workspace that parameters of runs name which have not ended; empty without a server.

    Raises:
        ConfigError: a server is configured, but does not answer.
    """
    url = configured_url()
    if url is None:
        return set()
    check_answers(url, _ADVICE)
    try:
        return {path for parameters in _parameters() for path in paths_below(directory, parameters)}
    except Exception as error:  # httpx's, Prefect's, or those of an answer that is not what was expected
        raise ConfigError(f"{url}: the runs cannot be read ({one_line(error)}). {_ADVICE}") from error


def paths_below(directory: Path, value: Any) -> Iterator[Path]:
    """The paths in the directory that are texts anywhere in the value, but not the directory itself."""
    if isinstance(value, dict):
        for each in value.values():
            yield from paths_below(directory, each)
    elif isinstance(value, list):
        for each in value:
            yield from paths_below(directory, each)
    elif isinstance(value, str) and value.startswith("/") and "\0" not in value:
        path = Path(value)
        for root in {directory, directory.resolve()}:
            if path.is_relative_to(root) and path != root:
                yield directory / path.relative_to(root)


def _parameters() -> Iterator[dict[str, Any]]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import TERMINAL_STATES

    flows = filters.FlowFilter(name=filters.FlowFilterName(any_=list(FLOWS)))
    kinds = filters.FlowRunFilterStateType(not_any_=list(TERMINAL_STATES))
    runs = filters.FlowRunFilter(state=filters.FlowRunFilterState(type=kinds))
    with get_client(sync_client=True) as client:
        for offset in range(0, 1_000_000, _AT_ONCE):
            found = client.read_flow_runs(
                flow_filter=flows, flow_run_filter=runs, limit=_AT_ONCE, offset=offset
            )
            yield from (run.parameters for run in found)
            if len(found) < _AT_ONCE:
                return
