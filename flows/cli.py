"""The `figa` command. Heavy imports happen inside the commands: `figa --help` answers at once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.terminal import edge, streams

if TYPE_CHECKING:
    from figa_core.config import PipelineConfig
    from figa_core.report.data import ReportData
    from flows.progress import Progress

DEMO_WORKSPACE = Path("build/demo")
SANDBOX_ROOT = Path("build/sandbox")

app = typer.Typer(
    cls=edge.Commands,
    help="Align a language model by minimal revisions of its own answers (FIGA, arXiv 2311.04072).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = streams.console()
_CHECKING = "checking the settings, the models and the prompts"

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", envvar="FIGA_WORKSPACE", help="Directory of the workspace.")
]


def main() -> None:
    """Run the command line; see `flows.terminal.edge` for how it ends."""
    edge.main(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        _plain(f"figa {version('figa')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001 - its callback ends the command
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """What goes before a command."""
    _keep_prefect_quiet()


@app.command()
def demo(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    sandbox: Annotated[Path, typer.Option(help="Directory that keeps the sandbox's models.")] = SANDBOX_ROOT,
) -> None:
    """Run everything on a small embedded world: no network, no key, no GPU."""
    edge.runs_in(workspace)
    from flows.demo import run_demo

    result = run_demo(workspace, sandbox, _progress())
    _show(result.run.data, result.run.report, workspace)
    _console.print(
        f"\nThe whole demo took {result.seconds:.0f} s ({result.sandbox_seconds:.0f} s of it the sandbox), "
        f"at most {result.peak_memory_bytes / 2**30:.1f} GiB of memory, and {result.teacher_requests:,} "
        "requests to the sandbox's scripted teacher.",
        highlight=False,
    )


@app.command()
def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="TOML file; see deployments/presets.")],
) -> None:
    """Run the pipeline on your own prompts, model, reward model and reviser."""
    from figa_core.config.file import read_settings

    settings = read_settings(config)
    from flows.preflight import usable

    _run_flow(usable(settings))


@app.command("retry-revisions")
def retry_revisions(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    run_id: Annotated[str | None, typer.Option("--run", help="Id of a run; the latest without it.")] = None,
) -> None:
    """Ask again for the revisions of a run that are still open, then go on with the run."""
    from flows.stored import stored_config

    _run_flow(stored_config(workspace, run_id))


@app.command()
def plan(
    config: Annotated[Path, typer.Option("--config", "-c", help="TOML file; see deployments/presets.")],
) -> None:
    """Show the reviser's calls, tokens, cost and time that a run would take. Spends nothing."""
    from figa_core.config.file import read_settings

    read = read_settings(config)
    from flows.plan import make_plan, plan_lines
    from flows.preflight import check, usable

    edge.say(_CHECKING)
    settings = usable(read, needs_key=False)
    warnings = check(settings, needs_key=False, say=edge.say)
    lines = [f"warning: {found}" for found in warnings]
    for line in [*lines, *plan_lines(make_plan(settings), settings.revision.model)]:
        _console.print(line, markup=False, highlight=False)


@app.command()
def status(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the workspace's runs: what came of their rows, and which revisions are still open."""
    from flows.status import status_lines, workspace_status

    found = workspace_status(workspace)
    if as_json:
        import orjson

        _plain(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return
    for line in status_lines(found):
        _console.print(line, markup=False, highlight=False)


@app.command()
def report(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    run_id: Annotated[str | None, typer.Option("--run", help="Id of a run; the latest without it.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write a run's report again from what is stored, and print its main lines."""
    from flows.run.existing import existing_workspace
    from flows.status import write_report

    data, path = write_report(existing_workspace(workspace), run_id)
    _show(data, path, workspace)
    if show:
        typer.launch(path.as_uri())


def _run_flow(settings: "PipelineConfig") -> None:
    import asyncio

    from flows.preflight import check
    from flows.progress import showing
    from flows.server.api import prefect_api
    from tasks.workspace import Workspace

    progress = _progress()
    progress.line(_CHECKING)
    check(settings, say=progress.line)  # before a server is started, and while nothing is held
    edge.runs_in(settings.workspace.path)
    with prefect_api(Workspace(settings.workspace.path).prefect) as server, showing(progress):
        if server is not None:
            with progress.waiting("starting a Prefect server"):
                server.wait()
        from flows.figa import figa

        result = asyncio.run(figa(settings))
    _show(result.data, result.report, settings.workspace.path)


def _keep_prefect_quiet() -> None:
    """Prefect reads these when it is imported, which almost any import of a command may cause."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from flows.server.names import HEARTBEAT_S

    # An automation of ours marks runs that are silent for longer as crashed (deployments/automations.py).
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", str(HEARTBEAT_S))


def _progress() -> "Progress":
    """Bars in a terminal, lines elsewhere."""
    from flows.progress import Lines
    from flows.terminal.bars import Bars

    return Bars(_console) if _console.is_terminal else Lines(_plain)


def _plain(line: str) -> None:
    print(line, flush=True)


def _show(data: "ReportData", path: Path, workspace: Path) -> None:
    from figa_core.report.funnel import funnel_lines
    from figa_core.report.sentences import comparison_sentences, result_sentence

    lines: list[Any] = ["", *funnel_lines(data.funnel), ""]
    lines += [result_sentence(data), *comparison_sentences(data), "", f"Report: {path.resolve().as_uri()}"]
    lines.append(f"Status: {edge.status_command(workspace)}")
    for line in lines:
        _console.print(line, markup=False, highlight=False)


if __name__ == "__main__":
    main()
