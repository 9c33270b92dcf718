"""Another machine for a run's servers: processes of this one. Imports nothing that takes long."""

import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from figa_core.inference.server.order import ON_LOOPBACK, Listening
from figa_core.inference.server.ordered import OnPool
from figa_core.inference.server.serving_folder import ServingFolder

LOST_AFTER_S = 15.0  # longer than the time between two signs of life, also on a busy machine
SERVING = """
import sys
from pathlib import Path
from figa_core.errors import FigaError
from figa_core.inference.server.serving import serve_order
from figa_core.inference.server.serving_folder import ServingFolder
folder, fingerprint, lost_after_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
try:
    serve_order(
        ServingFolder(folder), folder.parent, lambda model: fingerprint, print, lost_after_s=lost_after_s
    )
except FigaError as error:
    sys.exit(f"Failed: {error}")
"""


@dataclass
class Process:
    """ordered.ServingRun: a process of this machine."""

    process: "subprocess.Popen[str]"
    name: str = "workspace: serve a model"
    ends: list[str] = field(default_factory=list)

    def ended(self) -> str | None:
        code = self.process.poll()
        return None if code is None else f"Crashed: it ended with code {code}"

    def cancel(self) -> None:
        self.ends.append("cancel")

    def end(self) -> None:
        self.ends.append("end")

    def servers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@dataclass
class Machine:
    """ordered.ServingRuns: starts each run at once, or never if it has no worker."""

    fingerprint: str = "the base"
    runs: list[Process] = field(default_factory=list)
    folders: list[ServingFolder] = field(default_factory=list)
    program: str = SERVING
    lost_after_s: float = LOST_AFTER_S

    def start(self, folder: Path) -> Process:
        command = [sys.executable, "-c", self.program, str(folder), self.fingerprint, str(self.lost_after_s)]
        self.folders.append(ServingFolder(folder))
        with folder.with_suffix(".log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
        self.runs.append(Process(process))
        return self.runs[-1]

    def pool(self, listening: Listening = ON_LOOPBACK, **changes: Any) -> OnPool:
        pool = OnPool(self, lambda _model: "the base", listening, lost_after_s=self.lost_after_s)
        return replace(pool, **changes)
