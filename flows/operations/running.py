"""Runs a flow for a command, on a Prefect server. Heavy imports are inside, so that `figa --help` is fast."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from flows.terminal import edge

if TYPE_CHECKING:
    from figa_core.config import PipelineConfig
    from flows.progress import Progress

_T = TypeVar("_T")
Flow = Callable[["PipelineConfig"], Coroutine[Any, Any, _T]]
SANDBOX_ROOT = Path("build/sandbox")
CHECKING = "checking the settings, the models and the prompts"


def run_flow(settings: "PipelineConfig", load: "Callable[[], Flow[_T]]", progress: "Progress") -> _T:
    """Run the flow that `load` imports, on the configured Prefect server or on one of its own."""
    import asyncio

    from flows.preflight import check
    from flows.progress import showing
    from flows.server.api import prefect_api, wait_until_ready
    from tasks.workspace import Workspace

    progress.line(CHECKING)
    check(settings, say=progress.line)  # before a server starts and before the workspace is locked
    edge.runs_in(settings.workspace.path)
    with prefect_api(Workspace(settings.workspace.path).prefect) as server, showing(progress):
        wait_until_ready(server, progress)
        return asyncio.run(load()(settings))


def progress_on(console: Console) -> "Progress":
    """Bars in a terminal, lines elsewhere."""
    from flows.progress import Lines
    from flows.terminal.bars import Bars

    return Bars(console) if console.is_terminal else Lines(_plain)


def _plain(line: str) -> None:
    print(line, flush=True)
