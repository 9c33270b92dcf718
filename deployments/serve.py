"""Runs everything on one machine: a Prefect server with its UI, deployments, automations and workers.

    python -m deployments.serve [--port 4200] [--directory build/serve]      (`make serve`)

It listens on loopback only and ends with Ctrl-C; the directory keeps the server's history, unless the
environment names a PostgreSQL and a Redis for that (`flows/server/databases.py`). A server or worker
that dies is restarted. A run ends with its worker: it is then marked as Crashed, and Retry continues it.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from deployments.serving import Serving
from figa_core.errors import FigaError, WorkspaceBusyError, WorkspaceError
from figa_core.processes.children import end_leftovers
from flows.server.databases import shown
from flows.server.names import API_URL_VARIABLE

if TYPE_CHECKING:
    from deployments.sandbox import SandboxTeacher

DIRECTORY = Path("build/serve")
PORT = 4200
_LOOK_EVERY_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C (or SIGTERM); 1 if it cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.serve", description="Server, workers and deployments on this machine."
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"port of the UI and API; default: {PORT}")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help=f"default: {DIRECTORY}")
    parser.add_argument(
        "--sandbox", action="store_true", help="also deploy figa/sandbox: a run to try without your own data"
    )
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        try:
            stack.enter_context(_alone_in(options.directory))
            for process in end_leftovers():
                _say(f"ended {process}, left over from an earlier `make serve` that was killed")
            sandbox = _sandbox(options) if options.sandbox else None
            if sandbox is not None:
                stack.enter_context(sandbox.process)
            for line in shown(os.environ):
                _say(line)
            _say("Starting the Prefect server (10 to 30 s) ...")
            serving = Serving(options.directory, options.port, _say)
            stack.callback(_stop, serving)
            serving.start()
            if sandbox is not None:
                asyncio.run(sandbox.deploy())
            _say_where(serving, options)
            while True:
                serving.restart_dead()
                time.sleep(_LOOK_EVERY_S)
        except FigaError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Raises WorkspaceBusyError if another `make serve` uses this directory: two servers, one database."""
    lock = FileLock(directory / "serve.lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise WorkspaceBusyError(
            f"{directory}: another `make serve` is using this directory. Stop it, or choose another one: "
            "make serve DIRECTORY=..."
        ) from error
    except OSError as error:
        raise WorkspaceError(
            f"{directory}: cannot write there ({error.strerror}). Choose another directory: "
            "make serve DIRECTORY=..."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _stop(serving: Serving) -> None:
    _say("Stopping: workers first, so that their runs can store their results ...")
    serving.stop()
    _say("Stopped.")


def _sandbox(options: argparse.Namespace) -> "SandboxTeacher":
    from deployments.sandbox import SandboxTeacher
    from flows.cli import SANDBOX_ROOT
    from flows.demo import KEY, KEY_VARIABLE

    os.environ[KEY_VARIABLE] = KEY  # for the workers
    _say("Building the sandbox, unless it exists (1 to 2 min) ...")
    return SandboxTeacher(SANDBOX_ROOT, options.directory.resolve() / "sandbox", options.port + 1, _say)


def _say_where(serving: Serving, options: argparse.Namespace) -> None:
    try_it = (
        "Deployments > sandbox > Run > Quick run starts a run."
        if options.sandbox
        else "Deployments > figa > Run > Custom run opens the form."
    )
    _say(
        f"\nUI:         {serving.server.ui_url}\n"
        f"API:        export {API_URL_VARIABLE}={serving.server.api_url}\n"
        f"Logs:       {options.directory}/worker-*.log\n"
        f"{try_it} Ctrl-C stops everything."
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    sys.exit(main())
