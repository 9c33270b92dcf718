"""The outermost layer of the command line: every end of a command has a message and an exit code.

0: done. 1: an error that a message explains. 2: wrong usage, or an unexpected error (one line, with its
traceback in a file). 3: the run is done, and its model is worse than its base. 128 plus the signal's
number: stopped (Ctrl-C 130, SIGTERM 143).
"""

import asyncio
import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from figa_core.errors import FigaError, InputError, InterruptedRunError, WorseModelError
from figa_core.processes import interruption
from flows.terminal import streams
from flows.terminal.crash_report import report_crash

_FAILED = 1
_UNEXPECTED = 2
_WORSE_MODEL = 3
_errors = streams.console(stderr=True)


class _Run:
    """The workspace of this command's run, once it is known."""

    workspace: Path | None = None


def runs_in(workspace: Path) -> None:
    """Let the command end with a line that names the status command for this workspace."""
    _Run.workspace = workspace


def status_command(workspace: Path) -> str:
    """The command that shows the workspace's runs."""
    return f"figa status --workspace {shlex.quote(str(workspace))}"


def say(line: str, style: str | None = None) -> None:
    """Print a line for people, on standard error."""
    _errors.print(line, style=style, markup=False, highlight=False)


class Commands(TyperGroup):
    """The commands; each ends with a message, also if it is stopped or an unexpected error occurs."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; raises FigaError, see `main`."""
        try:
            _require_directory()
            return super().invoke(ctx)
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            raise typer.Exit(_stopped(error)) from None
        except (FigaError, typer.TyperException, typer.Exit, typer.Abort):
            raise
        except Exception as error:  # the last place that can report it
            raise typer.Exit(_unexpected(error)) from None


def _require_directory() -> None:
    """Raises InputError if the current directory is gone: nothing can be imported or started there."""
    try:
        Path.cwd()
    except OSError as error:
        raise InputError(
            f"the current directory cannot be used ({error.strerror}): perhaps it was removed after this "
            "shell entered it. Change to one that exists: cd"
        ) from error


def main(app: typer.Typer) -> None:
    """Run the command line and end the process."""
    streams.prepare()
    threading.excepthook = _thread_ended
    sys.unraisablehook = _unraisable
    code: object = 0
    _Run.workspace = None
    with interruption.listening():
        try:
            app()
        except SystemExit as end:
            code = end.code
        except WorseModelError as error:
            say(str(error), style="red")
            code = _WORSE_MODEL
        except FigaError as error:
            say(f"error: {error}", style="red")
            _show_status_command()
            code = _FAILED
        except (KeyboardInterrupt, asyncio.CancelledError) as error:  # while the command line is read
            code = _stopped(error)
    _leave(_printed(code if isinstance(code, int) else int(code is not None)))


def _printed(code: int) -> int:
    """The exit code: failure if a command lost some of its output.

    A run keeps its code, because its results are stored.
    """
    sys.stdout.flush()
    if (why := streams.lost()) is None:
        return code
    say(f"standard output: {why}; some output was lost")
    return code or (_FAILED if _Run.workspace is None else 0)


def _stopped(error: BaseException) -> int:
    try:
        interruption.check()
    except InterruptedRunError as asked:
        error = asked
    if isinstance(error, asyncio.CancelledError):
        return _unexpected(error)
    if _Run.workspace is None:
        say("stopped.")
    else:
        say("stopped. What is done is stored: the same command continues from here.")
        _show_status_command()
    return error.exit_code if isinstance(error, InterruptedRunError) else InterruptedRunError().exit_code


def _unexpected(error: BaseException) -> int:
    say(report_crash(error, _log_directories()), style="red")
    _show_status_command()
    return _UNEXPECTED


def _thread_ended(arguments: threading.ExceptHookArgs) -> None:
    """A thread that shows or follows something has failed; the run continues without it."""
    if arguments.exc_value is not None:
        say(report_crash(arguments.exc_value, _log_directories()), style="red")


def _unraisable(arguments: "sys.UnraisableHookArgs") -> None:
    """An error where Python cannot raise (in a finalizer). A signal there is handled elsewhere."""
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, InterruptedRunError):
        report_crash(arguments.exc_value, _log_directories())


def _log_directories() -> list[Path]:
    return [_Run.workspace / "logs"] if _Run.workspace is not None and _Run.workspace.is_dir() else []


def _show_status_command() -> None:
    if _Run.workspace is not None and _Run.workspace.is_dir():
        say(f"Status: {status_command(_Run.workspace)}")


def _leave(code: int) -> None:
    """End the process at once; everything that must be closed is already closed.

    At a normal exit while Prefect's threads are alive, DuckDB's binding prints a page of false warnings about
    leaks.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
