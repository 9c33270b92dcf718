"""The `figa` command. Heavy imports are inside the commands, so that `figa --help` is fast."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.operations.commands import add_to
from flows.operations.running import CHECKING, SANDBOX_ROOT, progress_on, run_flow
from flows.terminal import edge, streams
from flows.terminal.options import DEMO_WORKSPACE, ConfigOption, DeviceOption, RunOption, WorkspaceOption

if TYPE_CHECKING:
    from figa_core.config import PipelineConfig
    from figa_core.report.data import ReportData
    from flows.compare_methods import MethodsResult
    from flows.figa import RunResult
    from flows.operations.running import Flow

REAL_WORKSPACE = Path("build/demo-real")
REAL_ROOT = Path("build/real")

app = typer.Typer(
    cls=edge.Commands,
    help="Align a language model by minimal revisions of its own answers (FIGA, arXiv 2311.04072).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = streams.console()


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
    """Options before a command."""
    _keep_prefect_quiet()


@app.command()
def demo(
    real: Annotated[bool, typer.Option("--real", help="Use a real model of 135 million parameters.")] = False,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            envvar="FIGA_WORKSPACE",
            help=f"Directory of the workspace; by default {DEMO_WORKSPACE}, with --real {REAL_WORKSPACE}.",
        ),
    ] = None,
    sandbox: Annotated[
        Path | None,
        typer.Option(help=f"Directory of the models; by default {SANDBOX_ROOT}, with --real {REAL_ROOT}."),
    ] = None,
) -> None:
    """Run everything on the built-in sandbox, or on a real model: no key, no GPU."""
    workspace = workspace or (REAL_WORKSPACE if real else DEMO_WORKSPACE)
    edge.runs_in(workspace)
    from flows.demo import REAL, SANDBOX, run_demo

    chosen, directory = (REAL, REAL_ROOT) if real else (SANDBOX, SANDBOX_ROOT)
    with _showing_a_worse_model(workspace):
        result = run_demo(chosen, workspace, sandbox or directory, progress_on(_console))
    _show(result.run.data, result.run.report, workspace)
    _console.print(
        f"\nThe demo took {result.seconds:.0f} s ({result.preparing_seconds:.0f} s of it for its models), "
        f"at most {result.peak_memory_bytes / 2**30:.1f} GiB of memory, and {result.teacher_requests:,} "
        "requests to the scripted teacher.",
        highlight=False,
    )


@app.command()
def run(config: ConfigOption) -> None:
    """Run the pipeline on your own prompts, model, reward model and reviser."""
    from figa_core.config.file import read_settings

    settings = read_settings(config)
    from flows.preflight import usable

    _run_pipeline(usable(settings))


@app.command("retry-revisions")
def retry_revisions(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    run_id: RunOption = None,
) -> None:
    """Ask again for the revisions of a run that are still open, then continue the run."""
    from flows.stored import stored_config

    _run_pipeline(stored_config(workspace, run_id))


@app.command()
def plan(config: ConfigOption, device_gb: DeviceOption = None) -> None:
    """Show the reviser's calls, tokens, cost and time that a run would need, and its training's memory.
    Spends nothing.
    """
    from figa_core.config.file import read_settings

    read = read_settings(config)
    from flows.plan import make_plan, plan_lines
    from flows.plan_memory import memory_lines
    from flows.preflight import check, usable

    edge.say(CHECKING)
    settings = usable(read, needs_key=False)
    for warning in check(settings, needs_key=False, planning=True, say=edge.say):
        _print([f"warning: {warning}"])
    _print(plan_lines(make_plan(settings), settings.revision.model))
    _print(memory_lines(settings, device_gb))


@app.command()
def compare(config: ConfigOption) -> None:
    """Train several methods on a run's pairs, each with its own rates and seeds, and compare them."""
    from figa_core.config.file import read_settings

    settings = read_settings(config)
    from flows.checks.comparison import check_comparison
    from flows.preflight import usable

    found = usable(settings)
    check_comparison(found)
    run_flow(found, _compare_methods, progress_on(_console))


@app.command()
def join(
    workspace: WorkspaceOption,
    node: Annotated[int, typer.Option("--node", min=1, help="Number of this machine; node 0 has the run.")],
) -> None:
    """Serve a workspace's trainings as a further node ([training] nodes), until Ctrl-C."""
    from flows.join import join_trainings

    join_trainings(workspace, node, edge.say)


@app.command()
def status(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show the workspace's runs: how many rows reached each step, and which revisions are still open."""
    from flows.status import status_lines, workspace_status

    found = workspace_status(workspace)
    if as_json:
        import orjson

        _plain(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(status_lines(found))


@app.command()
def report(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    run_id: RunOption = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write a run's report again from the stored results, and print its main lines."""
    from flows.run.existing import existing_workspace
    from flows.status import write_report

    data, path = write_report(existing_workspace(workspace), run_id)
    _show(data, path, workspace)
    if show:
        typer.launch(path.as_uri())


@app.command()
def judge(
    model: Annotated[str, typer.Argument(help="Name of an evaluated model, as in the run's report.")],
    against: Annotated[str, typer.Argument(help="The model to compare it with.")] = "base",
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    run_id: RunOption = None,
) -> None:
    """Let an LLM compare the held-out answers of two evaluated models ([evaluation.judge])."""
    from flows.judge_models import judge_answers
    from flows.progress import showing

    progress = progress_on(_console)
    edge.runs_in(workspace)
    with showing(progress):
        pair, path = judge_answers(workspace, model, against, run_id, progress)
    from figa_core.report.preferences import judge_sentences

    _print(["", *judge_sentences(pair), "", f"Report: {path.resolve().as_uri()}"])


def _run_pipeline(settings: "PipelineConfig") -> None:
    with _showing_a_worse_model(settings.workspace.path):
        result = run_flow(settings, _figa, progress_on(_console))
    _show(result.data, result.report, settings.workspace.path)


def _figa() -> "Flow[RunResult]":
    from flows.figa import figa

    return figa


def _compare_methods() -> "Flow[MethodsResult]":
    from flows.compare_methods import compare_methods

    return compare_methods


@contextmanager
def _showing_a_worse_model(workspace: Path) -> Iterator[None]:
    """A run whose model is worse than its base shows its result like any other, before the error."""
    from figa_core.errors import WorseModelError

    try:
        yield
    except WorseModelError as error:
        from flows.figa import RunResult

        if isinstance(error.result, RunResult):
            _show(error.result.data, error.result.report, workspace)
        raise


def _keep_prefect_quiet() -> None:
    """Set these before Prefect is imported, which almost any import in a command may do."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from flows.server.names import HEARTBEAT_S

    # An automation marks runs without heartbeats as crashed (deployments/automations.py).
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", str(HEARTBEAT_S))


def _plain(line: str) -> None:
    print(line, flush=True)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        _console.print(line, markup=False, highlight=False)


def _show(data: "ReportData", path: Path, workspace: Path) -> None:
    from figa_core.report.funnel import funnel_lines
    from figa_core.report.preferences import judge_sentences
    from figa_core.report.sentences import comparison_sentences, result_sentence, verdict_sentences

    _print(["", *funnel_lines(data.funnel), ""])
    judged = [judge_sentences(pair)[0] for pair in data.judged_pairs]
    _print([result_sentence(data), *comparison_sentences(data), *judged, *verdict_sentences(data), ""])
    _print([f"Report: {path.resolve().as_uri()}", f"Status: {edge.status_command(workspace)}"])


add_to(app)


if __name__ == "__main__":
    main()
