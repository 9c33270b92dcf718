"""`figa study`: what a run's data did, and what other rewards would have done."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.operations.running import SANDBOX_ROOT, progress_on, run_flow
from flows.terminal import edge, streams
from flows.terminal.options import DEMO_WORKSPACE, RunOption, WorkspaceOption

if TYPE_CHECKING:
    from figa_core.config import PipelineConfig
    from figa_core.study.reward.settings import RewardStudySettings
    from flows.operations.running import Flow
    from flows.study_reward import OpenRevisions, RewardStudyResult

study = typer.Typer(no_args_is_help=True, help="Measure what a run's data did to its models, and why.")


@study.command()
def shift(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    run_id: RunOption = None,
    embedder: Annotated[
        Path | None,
        typer.Option(
            "--embedder",
            help="Hugging Face directory of a sentence encoder (mean pooling); by default the one that "
            "`make embedder` installs, or else the base model.",
        ),
    ] = None,
) -> None:
    """Show how far revisions and references are from the model's own answers, before and after training."""
    from figa_core.study.report import shown
    from flows.run.existing import existing_workspace
    from tasks.study import study_shift

    console = streams.console()
    found, path = study_shift(
        existing_workspace(workspace),
        run_id,
        embedder=None if embedder is None else embedder.expanduser().absolute(),
        tell=lambda line: print(line, flush=True),
    )
    for each in shown(found):
        console.print(each, highlight=False)
    _print([f"Page: {path.resolve().as_uri()}", f"All figures: {path.with_suffix('.json')}"])


@study.command()
def reward(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="TOML file of a run; by default the demo on the sandbox."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            help="File of preference pairs (prompt, chosen, rejected; JSONL or Parquet) to train the reward "
            "models on; by default the model's own answers, labelled by the verifier.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start", help="Decoder that the reward models start from; by default the model to align."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask the reviser for what is missing, unasked.")] = False,
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    sandbox: Annotated[Path, typer.Option(help="Directory of the demo's models.")] = SANDBOX_ROOT,
) -> None:
    """Repeat a run with reward models degraded on purpose, and show how much their quality matters."""
    from figa_core.config.file import read_settings
    from figa_core.study.reward.settings import RewardStudySettings

    settings = RewardStudySettings(pairs=_absolute(pairs), start=_absolute(start))
    if config is None:
        edge.runs_in(workspace)
        from flows.demo import SANDBOX, study_demo_reward

        study_demo_reward(SANDBOX, workspace, sandbox, settings, progress_on(streams.console()))
        return
    read = read_settings(config)
    from flows.checks.study import check_reward_study
    from flows.preflight import usable
    from flows.study_reward import OpenRevisions

    usable_settings = usable(read)
    check_reward_study(usable_settings, settings)
    found = _run(usable_settings, settings, approved=yes)
    if isinstance(found, OpenRevisions):
        _ask(found)
        _run(usable_settings, settings, approved=True)


def _run(
    config: "PipelineConfig", settings: "RewardStudySettings", *, approved: bool
) -> "RewardStudyResult | OpenRevisions":
    def load() -> "Flow[RewardStudyResult | OpenRevisions]":
        from flows.study_reward import study_reward

        return lambda config: study_reward(config, settings, approved=approved)

    return run_flow(config, load, progress_on(streams.console()))


def _ask(found: "OpenRevisions") -> None:
    """Show what the reviser would be asked for, and ask whether it may be; raises typer.Exit if not."""
    _print(found.lines)
    if not sys.stdin.isatty():
        _print(["Nothing was spent. To ask the reviser and go on: the same command with --yes"])
        raise typer.Exit(1)
    if not typer.confirm("Ask the reviser for these revisions?"):
        raise typer.Exit(1)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().absolute()


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
