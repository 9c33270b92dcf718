"""`figa annotate`: people judge a run's changes on a local page."""

from pathlib import Path
from typing import Annotated

import typer

from flows.terminal.options import DEMO_WORKSPACE, RunOption, WorkspaceOption

_PORT_MAX = 65_535


def annotate(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    run_id: RunOption = None,
    pairs: Annotated[
        int | None,
        typer.Option("--pairs", min=1, help="Only so many pairs, a random sample."),
    ] = None,
    blind: Annotated[bool, typer.Option("--blind", help="Hide which side is which from everybody.")] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=_PORT_MAX, help="Where the page is; 0 for a free port.")
    ] = 8765,
    into: Annotated[
        Path | None, typer.Option("--export", help="Write the judgements: .parquet, or .json for Argilla.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--import", help="Take in judgements that --export or Argilla wrote.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show a run's pairs on a page on this machine, where people say which changes matter, until Ctrl-C.

    With --export or --import it does that only, and shows no page.
    """
    from figa_core.annotation.exchange import read_judgements, write_judgements
    from figa_core.annotation.server import HOST, listen, serve
    from flows.run.existing import existing_workspace
    from tasks.annotate import open_desk

    desk = open_desk(existing_workspace(workspace), run_id, pairs_max=pairs, blind=blind)
    if source is not None:
        print(f"{desk.take_in(read_judgements(source)):,} judgements taken in from {source}")
    if into is not None:
        found = desk.judgements()
        write_judgements(into, found, desk.texts)
        print(f"{len(found):,} judgements written to {into}")
    if source is not None or into is not None:
        return
    with listen(port) as listening:
        url = f"http://{HOST}:{listening.getsockname()[1]}/"
        print(f"{desk.job.name}, scheme {desk.job.scheme}: {url} (Ctrl-C ends it)", flush=True)
        if show:
            typer.launch(url)
        serve(desk, listening)
