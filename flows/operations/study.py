"""`figa study`: what a run's data did, measured on its stored pairs."""

from pathlib import Path
from typing import Annotated

import typer

from flows.terminal.options import DEMO_WORKSPACE, RunOption, WorkspaceOption

study = typer.Typer(no_args_is_help=True, help="Measure what a run's data did to its models, and why.")


@study.command()
def shift(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    run_id: RunOption = None,
    embedder: Annotated[
        Path | None,
        typer.Option(
            "--embedder",
            help="Hugging Face directory of a sentence encoder (mean pooling); by default the base model.",
        ),
    ] = None,
) -> None:
    """Show how far revisions and references are from the model's own answers, before and after training."""
    from flows.run.existing import existing_workspace
    from flows.terminal import streams
    from tasks.study import study_shift

    console = streams.console()
    found, path = study_shift(
        existing_workspace(workspace),
        run_id,
        embedder=None if embedder is None else embedder.expanduser().absolute(),
        tell=lambda line: print(line, flush=True),
    )
    console.print(found, highlight=False)
    print(f"All figures: {path}", flush=True)
