"""What the runs of a Prefect server that have not ended need of a workspace: `figa clean` leaves it alone.

A training that waits for its turn on a pool has written nothing yet. Its parameters say what it needs, as
texts that somebody filled in: relative to the directory of a worker, below its home, or with the path that
another machine has for the workspace. So a result is also known by the end of a path, such as `shards/ID`,
and a relative path of a workspace by its own end. Ids are hashes, so what is kept by mistake is little.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figa_core.errors import ConfigError, one_line
from flows.server.api import check_answers, configured_url
from flows.server.names import FLOWS
from tasks.retention import RESULTS, Waiting

_AT_ONCE = 200
_ADVICE = (
    "What runs that wait there need is not known, so nothing is removed. Start that server, or unset the "
    "address (also in the Prefect profile) if nothing waits there."
)


def needed_by_waiting_runs(directory: Path) -> Waiting:
    """What runs that have not ended need of this workspace; nothing without a server.

    Raises:
        ConfigError: a server is configured, but does not answer.
    """
    url = configured_url()
    if url is None:
        return Waiting()
    check_answers(url, _ADVICE)
    try:
        found = list(_parameters())
    except Exception as error:  # httpx's, Prefect's, or those of an answer that is not what was expected
        raise ConfigError(f"{url}: the runs cannot be read ({one_line(error)}). {_ADVICE}") from error
    return Waiting(
        frozenset(path for parameters in found for path in paths_below(directory, parameters)),
        frozenset(run for parameters in found for run in runs_of(directory, parameters)),
        any(may_continue_any(directory, parameters) for parameters in found),
    )


def paths_below(directory: Path, value: Any) -> Iterator[Path]:
    """The paths in the directory, but not itself, that texts anywhere in the value are or end in."""
    for text in _texts(value):
        path = _path(text)
        for root in {directory, directory.resolve()}:
            if path.is_relative_to(root) and path != root:
                yield directory / path.relative_to(root)
        for folder, name in zip(path.parts, path.parts[1:], strict=False):
            if folder in RESULTS and name != "..":
                yield directory / folder / name


def runs_of(directory: Path, parameters: dict[str, Any]) -> Iterator[str]:
    """What a run with these parameters continues in the directory: a run's id, or "" for the latest run."""
    run_id = parameters.get("run_id")
    if _is_this(directory, parameters.get("workspace")):
        yield run_id if isinstance(run_id, str) else ""


def may_continue_any(directory: Path, parameters: dict[str, Any]) -> bool:
    """Whether a run has settings of this directory: it continues the run with the same, whichever that is."""
    config = parameters.get("config")
    section = config.get("workspace") if isinstance(config, dict) else None
    return isinstance(section, dict) and _is_this(directory, section.get("path"))


def _is_this(directory: Path, text: Any) -> bool:
    """Whether a text may mean this directory; one that is relative, if the directory's path ends in it."""
    if not isinstance(text, str):
        return False
    path = _path(text)
    if path.is_absolute():
        return path in (directory, directory.resolve()) or _resolved(path) == directory.resolve()
    end = tuple(part for part in path.parts if part != "..")
    return any(root.parts[len(root.parts) - len(end) :] == end for root in (directory, directory.resolve()))


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of somebody who is not known here
        return Path(text)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, or no path at all
        return path


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if "\0" not in value:
            yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


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
