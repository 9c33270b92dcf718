"""`figa demo`: the whole pipeline on models and prompts of its own, with no key and no GPU."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from figa_core.config import PipelineConfig
from figa_core.config.file import load_config
from figa_core.errors import ConfigError
from figa_core.sandbox.build import Sandbox, build_sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.study.reward.settings import RewardStudySettings
from flows.progress import Progress, showing
from flows.run.memory import PeakMemory
from flows.server.api import prefect_api, wait_until_ready
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from flows.figa import RunResult
    from flows.study_reward import RewardStudyResult

_PRESETS = Path(__file__).resolve().parent.parent / "deployments" / "presets"
_DOMAIN, _PROMPTS, _SEED = "structured", 180, 0  # of `REAL`
KEY_VARIABLE = "FIGA_DEMO_KEY"
KEY = "the-sandbox-teacher-takes-any-key"

Paths = dict[str, dict[str, str]]
"""Settings that name models and prompts, by section."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo runs.

    Attributes:
        preset: its config file.
        preparing: what `prepare` does, in words.
        prepare: makes models and prompts in a directory unless they are there, tells its progress, and
            returns their paths.
        teacher: starts the scripted reviser.
    """

    preset: Path
    preparing: str
    prepare: Callable[[Path, Say], Paths]
    teacher: Callable[[], TeacherProcess]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """`run` is the flow's result; seconds and bytes include the preparation and the server."""

    run: "RunResult"
    teacher_requests: int
    preparing_seconds: float
    seconds: float
    peak_memory_bytes: int


def run_demo(demo: Demo, workspace: Path, directory: Path, progress: Progress) -> DemoResult:
    """Prepare what the demo runs on, start its teacher and the server, and run the flow.

    Raises:
        ConfigError: the preset is missing: demos run from a checkout only.
        FigaError: see `flows.figa.figa` and `Demo.prepare`.
    """
    with PeakMemory() as memory, _ready(demo, workspace, directory, progress) as ready:
        from flows.figa import figa

        run = asyncio.run(figa(ready.config))
        requests = ready.teacher.requests()
    return DemoResult(
        run, requests, ready.preparing_seconds, time.monotonic() - ready.begun, memory.peak_bytes
    )


def study_demo_reward(
    demo: Demo, workspace: Path, directory: Path, settings: RewardStudySettings, progress: Progress
) -> "RewardStudyResult":
    """`figa study reward` on a demo; its scripted reviser costs nothing, so nobody is asked.

    Raises: see `run_demo` and `flows.study_reward.study_reward`.
    """
    with _ready(demo, workspace, directory, progress) as ready:
        from flows.study_reward import RewardStudyResult, study_reward

        found = asyncio.run(study_reward(ready.config, settings, approved=True))
    assert isinstance(found, RewardStudyResult), "an approved study ends with its result"
    return found


@dataclass(frozen=True, slots=True)
class _Ready:
    """A demo whose models, teacher and server are there; seconds on the monotonic clock."""

    config: PipelineConfig
    teacher: TeacherProcess
    begun: float
    preparing_seconds: float


@contextmanager
def _ready(demo: Demo, workspace: Path, directory: Path, progress: Progress) -> Iterator[_Ready]:
    if not demo.preset.is_file():
        raise ConfigError(f"{demo.preset}: not found. `figa demo` runs from a checkout of the repository.")
    begun = time.monotonic()
    os.environ.setdefault(KEY_VARIABLE, KEY)
    with prefect_api(Workspace(workspace).prefect) as server:
        with progress.stage(demo.preparing):
            paths = demo.prepare(directory, progress.line)
        preparing_seconds = time.monotonic() - begun
        with demo.teacher() as teacher, showing(progress):
            config = demo_config(demo, workspace, paths, teacher.base_url)
            wait_until_ready(server, progress)
            yield _Ready(config, teacher, begun, preparing_seconds)


def demo_config(demo: Demo, workspace: Path, paths: Paths, base_url: str) -> PipelineConfig:
    """The preset with this machine's paths and the teacher's address."""
    own = {"workspace": {"path": str(workspace.resolve())}, "revision": {"base_url": base_url}}
    return load_config(demo.preset, own | paths)


def sandbox_paths(sandbox: Sandbox) -> Paths:
    return {
        "prompts": {"path": str(sandbox.prompts)},
        "generation": {"model": str(sandbox.base_model)},
        "reward": {"model": str(sandbox.reward_model)},
    }


def _build_sandbox(directory: Path, say: Say) -> Paths:
    return sandbox_paths(build_sandbox(directory, on_progress=say))


SANDBOX = Demo(
    preset=_PRESETS / "demo.toml",
    preparing="building the sandbox",
    prepare=_build_sandbox,
    teacher=lambda: TeacherProcess(requests_per_minute=6000),
)


def _fetch_real(directory: Path, say: Say) -> Paths:
    from figa_core.domains.base import load_domain
    from figa_core.domains.build import write_prompts
    from figa_core.real.reward import reward_model
    from figa_core.real.weights import real_model

    domain = load_domain(_DOMAIN)
    prompts = write_prompts(domain, directory.resolve() / domain.name, count=_PROMPTS, seed=_SEED)
    return {
        "prompts": {"path": str(prompts)},
        "generation": {"model": str(real_model(directory, on_progress=say))},
        "reward": {"model": str(reward_model(domain, directory, on_progress=say))},
    }


REAL = Demo(
    preset=_PRESETS / "demo-real.toml",
    preparing="fetching the real model",
    prepare=_fetch_real,
    teacher=lambda: TeacherProcess(domain=_DOMAIN, requests_per_minute=6000),
)
