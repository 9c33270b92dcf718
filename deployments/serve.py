"""Everything in operation on one machine: a Prefect server with its UI, deployments, automations, workers.

    python -m deployments.serve [--port 4200] [--directory build/serve]      (`make serve`)

All of it listens on loopback only and ends with Ctrl-C; the server's history stays in the directory. A
server or worker that dies is started again. Runs outlive neither: what was under way is marked Crashed and
goes on with Retry.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import psutil
from filelock import FileLock, Timeout
from prefect.context import refresh_global_settings_context

from deployments.deploy import deploy
from deployments.pools import Pool
from figa_core.errors import FigaError, WorkspaceBusyError, WorkspaceError
from figa_core.processes import child_environment, end_leftovers
from flows.published import DIRECTORY_VARIABLE, URL_VARIABLE
from flows.server import API_URL_VARIABLE, PrefectServer

DIRECTORY = Path("build/serve")
PORT = 4200
if TYPE_CHECKING:
    from deployments.sandbox import SandboxTeacher

_LOOK_EVERY_S = 0.5
_RESTART_AFTER_S = 2.0
_RESTART_MAX_S = 60.0
_STOP_S = 30.0  # the grace that `deployments/engine.py` gives a run, and some


class Worker:
    """A worker process on one pool."""

    def __init__(self, pool: Pool, directory: Path, environment: dict[str, str]) -> None:
        self.name = f"worker on {pool}"
        self.started_at = time.monotonic()
        self.log = directory / f"worker-{pool}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.worker", pool],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def runs(self) -> list[psutil.Process]:
        """The processes of its runs, and theirs."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


class Serving:
    """Server and workers, watched over. Make it, use it and end it in one thread: they die with that."""

    def __init__(
        self,
        directory: Path,
        port: int,
        say: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`say` gets a line for people; `environment` is added to that of the workers."""
        self._directory, self._port, self._say = directory.resolve(), port, say
        self._environment = dict(environment or {})
        self._restart_after_s = _RESTART_AFTER_S
        self.server = self._start_server()
        self.workers: dict[Pool, Worker] = {}

    def start(self) -> None:
        """Bring everything up.

        Raises:
            WorkspaceError: the server does not start.
            ConfigError: Prefect refuses a deployment.
        """
        self.server.wait()
        os.environ[API_URL_VARIABLE] = self.server.api_url
        refresh_global_settings_context()
        for line in asyncio.run(deploy()):
            self._say(f"  {line}")
        for pool in Pool:
            self.workers[pool] = self._start_worker(pool)

    def look_after(self) -> None:
        """Start again what has died."""
        if self.server.process.poll() is not None:
            self._say(
                f"the Prefect server has ended (code {self.server.process.returncode}); starting it again"
            )
            time.sleep(_RESTART_AFTER_S)
            self.server = self._start_server()
            self.server.wait()
        for pool, worker in self.workers.items():
            code = worker.process.poll()
            if code is not None:
                self._say(f"the {worker.name} has ended (code {code}, log {worker.log}); starting it again")
                self._wait_before_restart(worker)
                self.workers[pool] = self._start_worker(pool)

    def stop(self) -> None:
        """End the workers, wait until their runs have ended and said so, then end the server.

        Prefect's worker, asked to end, waits for its runs, for hours if need be. So it is killed: each of
        its runs notices, stores what it has and reports that it crashed (`deployments/engine.py`).
        """
        runs = [run for worker in self.workers.values() for run in worker.runs()]
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.wait()
        _, alive = psutil.wait_procs(runs, timeout=_STOP_S)
        for run in alive:
            run.kill()
        self.server.stop()

    def _wait_before_restart(self, worker: Worker) -> None:
        """Longer each time a worker ends as soon as it began: what is wrong does not pass by itself."""
        lived_s = time.monotonic() - worker.started_at
        longer = min(_RESTART_MAX_S, 2 * self._restart_after_s)
        self._restart_after_s = longer if lived_s < _RESTART_MAX_S else _RESTART_AFTER_S
        time.sleep(self._restart_after_s)

    def _start_server(self) -> PrefectServer:
        return PrefectServer(
            self._directory / "prefect", port=self._port, reports=self._directory / "reports"
        )

    def _start_worker(self, pool: Pool) -> Worker:
        environment = child_environment(
            **{
                API_URL_VARIABLE: self.server.api_url,
                DIRECTORY_VARIABLE: str(self._directory / "reports"),
                URL_VARIABLE: self.server.reports_url,
                **self._environment,
            }
        )
        return Worker(pool, self._directory, environment)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C (or SIGTERM); 1 if it cannot begin."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.serve", description="Server, workers and deployments on this machine."
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"of the UI and the API; default: {PORT}")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help=f"default: {DIRECTORY}")
    parser.add_argument(
        "--sandbox", action="store_true", help="also figa/sandbox: a run to try, with nothing of your own"
    )
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        try:
            stack.enter_context(_alone_in(options.directory))
            for process in end_leftovers():
                _say(f"ended {process}, which an earlier `make serve` that was killed had left")
            sandbox = _sandbox(options.directory) if options.sandbox else None
            environment = {}
            if sandbox is not None:
                stack.enter_context(sandbox.process)
                environment = sandbox.environment
            _say("Starting the Prefect server (10 to 30 s) ...")
            serving = Serving(options.directory, options.port, _say, environment)
            stack.callback(_stop, serving)
            serving.start()
            if sandbox is not None:
                asyncio.run(sandbox.deploy())
            _say_where(serving, options)
            while True:
                serving.look_after()
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
            f"{directory}: another `make serve` is at work with this directory. Stop it, or give this one "
            "another with --directory."
        ) from error
    except OSError as error:
        raise WorkspaceError(
            f"{directory}: cannot write there ({error.strerror}). Give another with --directory."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _stop(serving: Serving) -> None:
    _say("Stopping: workers first, so that their runs can store what they have ...")
    serving.stop()
    _say("Stopped.")


def _sandbox(directory: Path) -> "SandboxTeacher":
    from deployments.sandbox import SandboxTeacher  # the demo's preset and more to import
    from flows.cli import SANDBOX_ROOT

    _say("Building the sandbox, unless it stands (1 to 2 min) ...")
    return SandboxTeacher(SANDBOX_ROOT, directory.resolve() / "sandbox", _say)


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
        f"{try_it} Ctrl-C takes everything down."
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    sys.exit(main())
