"""`figa demo`: the whole pipeline on the sandbox, with no network, no key and no GPU."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from figa_core.config import PipelineConfig
from figa_core.config.file import load_config
from figa_core.errors import ConfigError
from figa_core.sandbox.build import Sandbox, build_sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from flows.progress import Progress, showing
from flows.run.memory import PeakMemory
from flows.server.api import prefect_api, wait_until_ready
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from flows.figa import RunResult

PRESET = Path(__file__).resolve().parent.parent / "deployments" / "presets" / "demo.toml"
KEY_VARIABLE = "FIGA_DEMO_KEY"
KEY = "the-sandbox-teacher-takes-any-key"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """`run` is the flow's result; seconds and bytes include the sandbox and the server."""

    run: "RunResult"
    teacher_requests: int
    sandbox_seconds: float
    seconds: float
    peak_memory_bytes: int


def run_demo(workspace: Path, sandbox_root: Path, progress: Progress) -> DemoResult:
    """Build the sandbox unless it exists, start the teacher and the server, and run the flow.

    Raises:
        ConfigError: the preset is missing: the demo runs from a checkout only.
        FigaError: see `flows.figa.figa`.
    """
    if not PRESET.is_file():
        raise ConfigError(f"{PRESET}: not found. `figa demo` runs from a checkout of the repository.")
    begun = time.monotonic()
    os.environ.setdefault(KEY_VARIABLE, KEY)
    with PeakMemory() as memory, prefect_api(Workspace(workspace).prefect) as server:
        with progress.stage("building the sandbox"):
            sandbox = build_sandbox(sandbox_root, on_progress=progress.line)
        sandbox_seconds = time.monotonic() - begun
        with TeacherProcess(requests_per_minute=6000) as teacher, showing(progress):
            config = demo_config(workspace, sandbox, teacher.base_url)
            wait_until_ready(server, progress)
            from flows.figa import figa

            run = asyncio.run(figa(config))
            requests = teacher.requests()
    return DemoResult(run, requests, sandbox_seconds, time.monotonic() - begun, memory.peak_bytes)


def demo_config(workspace: Path, sandbox: Sandbox, base_url: str) -> PipelineConfig:
    """The preset with this machine's paths and the teacher's address."""
    return load_config(
        PRESET,
        {
            "workspace": {"path": str(workspace.resolve())},
            "prompts": {"path": str(sandbox.prompts)},
            "generation": {"model": str(sandbox.base_model)},
            "reward": {"model": str(sandbox.reward_model)},
            "revision": {"base_url": base_url},
        },
    )
