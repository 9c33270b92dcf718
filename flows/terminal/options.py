"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

DEMO_WORKSPACE = Path("build/demo")

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", envvar="FIGA_WORKSPACE", help="Directory of the workspace.")
]
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="TOML file; see deployments/presets.")]
DeviceOption = Annotated[
    float | None,
    typer.Option(
        "--device-gb", min=0.1, help="Memory of a GPU in GB, for each rank; by default, this machine's."
    ),
]
RunOption = Annotated[str | None, typer.Option("--run", help="Id of a run; by default the latest.")]
