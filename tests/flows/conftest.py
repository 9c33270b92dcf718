"""A project directory, and `figa` in it as a subprocess, as a user starts it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx2
import pytest

from figa_core.processes.children import child_environment
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from flows.server.names import API_URL_VARIABLE
from flows.server.process import PrefectServer

KEY_VARIABLE = "FIGA_TEST_KEY"
KEY = "a-key-that-must-appear-nowhere"
RUN_TIMEOUT_S = 600
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def teacher() -> Iterator[TeacherProcess]:
    with TeacherProcess() as process:
        yield process


def find(server: PrefectServer, route: str, **wanted: Any) -> list[dict[str, Any]]:
    """Objects of one kind on the server; other tests use it too, so filter by what is `wanted`."""
    response = httpx2.post(f"{server.api_url}/{route}/filter", json={"limit": 200, **wanted})
    response.raise_for_status()
    return response.json()


@dataclass
class Project:
    """A user's directory with a config and a workspace; runs `figa` on them."""

    directory: Path
    settings: dict[str, dict[str, Any]]
    environment: dict[str, str] = field(default_factory=dict)
    rewards: list[dict[str, Any]] = field(default_factory=list)  # in the place of settings["reward"]

    @property
    def workspace(self) -> Path:
        return self.directory / "workspace"

    @property
    def config(self) -> Path:
        path = self.directory / "config.toml"
        lines = []
        tables = [(f"[{section}]", fields) for section, fields in self.settings.items()]
        for header, fields in [*tables, *(("[[rewards]]", fields) for fields in self.rewards)]:
            # Strings, numbers, booleans and lists are written as in JSON.
            lines += [header, *(f"{k} = {json.dumps(v)}" for k, v in fields.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def start(self, *arguments: str, stdout: int | BinaryIO = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=self.directory,
            env=child_environment(**self.environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def figa(self, *arguments: str, timeout_s: float = RUN_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, output)

    @property
    def run_name(self) -> str:
        """The name of its runs; no other test uses it."""
        return f"{self.settings['workspace']['name']}: prompts.jsonl for base"

    def flow_run(self, server: PrefectServer) -> dict[str, Any]:
        """Its only flow run on the server."""
        [found] = find(server, "flow_runs", flow_runs={"name": {"any_": [self.run_name]}})
        return found

    def run(self) -> subprocess.CompletedProcess[str]:
        return self.figa("run", "--config", str(self.config))

    def start_run(self, stdout: int | BinaryIO = subprocess.PIPE) -> subprocess.Popen[str]:
        return self.start("run", "--config", str(self.config), stdout=stdout)

    def status(self) -> dict[str, Any]:
        """The status of its only run."""
        [run] = json.loads(self.figa("status", "-w", str(self.workspace), "--json").stdout)["runs"]
        return run


def wait_until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for something that a run does; its output is the message if it ends before."""
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while not happened():
        assert process.poll() is None, process.communicate()[0] or "its output is in run.log"
        assert time.monotonic() < deadline, "the run did not get that far"
        time.sleep(0.02)


def project_settings(directory: Path, sandbox: Sandbox, base_url: str) -> dict[str, dict[str, Any]]:
    """A small run: few prompts, short responses, every response revised, four steps on two ranks."""
    return {
        "workspace": {"path": str(directory / "workspace"), "name": "test"},
        "prompts": {
            "path": str(sandbox.prompts),
            "held_out_share": 0.3,
            "max_prompt_tokens": 200,
            "limit": 60,
        },
        "generation": {"model": str(sandbox.base_model), "engine": "transformers", "max_tokens": 24},
        "reward": {"model": str(sandbox.reward_model), "engine": "transformers", "max_length": 384},
        "filter": {
            "response_reward_below": "q1",
            "reference_reward_above": "q0",
            "reward_gap_above": "q0",
        },
        "revision": {
            "base_url": base_url,
            "model": "sandbox-teacher",
            "api_key_env": KEY_VARIABLE,
            "requests_per_minute": 60_000,
            "tokens_per_minute": 60_000_000,
        },
        # Such short drafts are rewritten rather than revised; every row takes one call.
        "revision_prompt": {"asked_again_max": 0},
        'spending.prices."sandbox-teacher"': {
            "usd_per_million_prompt_tokens": 2.0,
            "usd_per_million_completion_tokens": 8.0,
        },
        "admission": {"reward_gain_above": -1e9},
        "weighting": {"max_length": 384},
        "training": {
            "learning_rate": 1e-4,
            "epochs": 1000,
            "max_steps": 4,
            "pairs_per_step": 4,
            "tokens_per_batch": 4096,
            "processes": 2,
            "dtype": "float32",
            "checkpoint_steps": 2,
        },
        "evaluation": {"verifier": "figa_core.sandbox.verifier:verify"},
    }


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox) -> Project:
    """A project without a reviser and a Prefect API, for commands that end before they need them."""
    environment = {API_URL_VARIABLE: f"{NOBODY}/api", KEY_VARIABLE: KEY, "OMP_NUM_THREADS": "1"}
    settings = project_settings(tmp_path, sandbox, f"{NOBODY}/v1")
    settings["workspace"]["name"] = tmp_path.name  # no other test's
    return Project(tmp_path, settings, environment)


@pytest.fixture
def served_project(project: Project, prefect_server: PrefectServer, teacher: TeacherProcess) -> Project:
    project.environment[API_URL_VARIABLE] = prefect_server.api_url
    project.settings["revision"]["base_url"] = teacher.base_url
    return project
