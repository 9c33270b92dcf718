"""The commands that look after a workspace. Heavy imports are inside them, so that `figa --help` is fast."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.operations.annotate import annotate
from flows.operations.serve_model import serve_model
from flows.operations.study import study
from flows.terminal import edge
from flows.terminal.options import DEMO_WORKSPACE, WorkspaceOption

if TYPE_CHECKING:
    from tasks.backup import Backup
    from tasks.retention import Cleaning

_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_SHOWN = 30


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (annotate, doctor, backup, restore, clean, serve_model):
        app.command()(command)
    app.add_typer(study, name="study")


def doctor(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    wait_s: Annotated[
        float,
        typer.Option("--wait", min=0, help="Longest time to wait for an answer of the workers, in seconds."),
    ] = 60,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The store that workers without the workspace's disk would use; by default the one of the "
            "latest run that names one.",
        ),
    ] = None,
) -> None:
    """Look at the installation, the Prefect server with its pools, limits and workers, and the workspace."""
    from flows.operations.doctor.examine import examine
    from flows.operations.doctor.lines import Level

    problems = 0
    for line in examine(workspace.expanduser().absolute(), wait_s=wait_s, artifacts=artifacts):
        _print([str(line)])
        problems += line.level is Level.PROBLEM
    if problems:
        raise typer.Exit(1)


def backup(
    target: Annotated[Path, typer.Argument(help="A new directory for the backup.")],
    workspace: WorkspaceOption = DEMO_WORKSPACE,
) -> None:
    """Copy a workspace into a new directory, also while a run uses it."""
    from importlib.metadata import version

    from flows.run.existing import existing_workspace
    from tasks.backup import LEFT_OUT, back_up

    found = existing_workspace(workspace)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    taken = back_up(found, target, version=version("figa"), taken_at=now)
    _print([f"{_files(taken)} of {found.directory} are in {target}.", f"Left out: {LEFT_OUT}."])
    if taken.outside:
        _print(["Its runs also need, from elsewhere:"])
        _print(f"  {setting}: {path}" for setting, path in taken.outside.items())


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="Directory of a backup.")],
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="A new directory for the workspace.")],
) -> None:
    """Make a new workspace of a backup, and check every file of it."""
    from tasks.backup import restore as restore_from

    taken = restore_from(source, workspace)
    _print([f"{_files(taken)} of {taken.taken_at} are in {workspace}."])
    _print([f"Status: {edge.status_command(workspace)}"])
    for setting, path in taken.outside.items():
        if not Path(path).exists():
            _print([f"warning: {path} is not on this machine; runs need it ({setting})"])
    if workspace.resolve() != Path(taken.workspace):
        moved = (
            f"The workspace was in {taken.workspace}. Set workspace.path to {workspace} to continue its runs"
        )
        _print([f"{moved}; a run whose model is in the workspace itself needs the old path."])


def clean(
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="TIME", help="Such as 30d, 12h or 8w: runs to keep are newer."),
    ],
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    remove: Annotated[bool, typer.Option("--remove", help="Remove what is shown otherwise.")] = False,
) -> None:
    """Show what runs older than a time have left in the workspace, and remove it if told so.

    Rows, paid answers and reports stay, and everything that a newer run needs, or one that waits on the
    Prefect server.
    """
    before = datetime.now(UTC) - age_in(older_than)
    from figa_core.processes.lease import workspace_lease
    from flows.run.existing import existing_workspace
    from flows.server.waiting import needed_by_waiting_runs
    from tasks.retention import plan_cleaning
    from tasks.retention import remove as remove_from

    found = existing_workspace(workspace)
    if not remove:
        planned = plan_cleaning(found, before, needed_by_waiting_runs(found.directory))
        _print(_lines(planned, found.directory))
        if planned.removable:
            _print(["Nothing was removed. To remove it: the same command with --remove"])
        return
    with workspace_lease(found.directory, owner="figa clean"):
        planned = plan_cleaning(found, before, needed_by_waiting_runs(found.directory))
        done = remove_from(found, planned)
    _print(_lines(planned, found.directory))
    left = [each for each in planned.removable if each not in done]
    _print([f"Removed {len(done)}, {_size(sum(each.size for each in done))}."])
    _print(f"{each.path}: left alone, because a process works on it" for each in left)


def age_in(text: str) -> timedelta:
    """The time in text such as "30d", "12h" or "8w". Raises typer.BadParameter for other text."""
    found = re.fullmatch(r"(\d{1,4})([hdw])", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time such as 30d, 12h or 8w", param_hint="--older-than")
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def _lines(planned: "Cleaning", directory: Path) -> Iterable[str]:
    yield f"{directory}: {len(planned.kept_runs)} runs are kept, {len(planned.old_runs)} are older."
    if not planned.removable:
        yield "Nothing to remove."
        return
    largest = sorted(planned.removable, key=lambda each: -each.size)
    for each in largest[:_SHOWN]:
        yield f"  {_size(each.size):>8}  {each.changed_at:%Y-%m-%d}  {each.path.relative_to(directory)}"
    if rest := largest[_SHOWN:]:
        yield f"  {_size(sum(each.size for each in rest)):>8}  in {len(rest)} more"
    yield f"  {_size(planned.size):>8}  in all"


def _files(taken: "Backup") -> str:
    return f"{len(taken.files):,} files, {_size(taken.size)},"


def _size(count: int) -> str:
    from flows.checks.room import size_text

    return size_text(count)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
