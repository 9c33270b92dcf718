"""Real vLLM servers that a run of a real `make serve` has on the pool `gpu`."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from figa_core.inference.vllm_python import find_vllm_python
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from tests.deployments.conftest import form
from tests.deployments.operation import Operation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.distributed,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(
        find_vllm_python() is None, reason="no environment with vLLM (`make setup` makes one)"
    ),
]

LOST_AFTER_S = 120.0
ON_POOL = {
    "engine": "server",
    "gpu_memory_share": 0.2,
    "server": {"managed": True},
    "serving": {"pool": True},
}


@pytest.fixture
def teacher() -> Iterator[TeacherProcess]:
    with TeacherProcess() as teacher:
        yield teacher


def test_a_run_has_its_servers_on_the_pool_also_after_it_was_killed_and_leaves_none(
    serving: Operation, sandbox: Sandbox, tmp_path: Path, teacher: TeacherProcess
) -> None:
    """The base and two adapters are evaluated by one server."""
    training = {"max_steps": 2, "processes": 1, "lora": {"rank": 4}}
    config = form(
        tmp_path,
        sandbox,
        teacher.base_url,
        generation=ON_POOL,
        training=training,
        evaluation={"baselines": ["sft_revised"]},
    )
    run = serving.run("figa", config=config)
    _up(serving, tmp_path)
    key = _key_of(serving)
    assert len(_with(key)) >= 2  # the server and its engine
    _kill(serving, run)
    [orphan] = serving.children_of(run)
    ended = serving.ended(orphan["id"], LOST_AFTER_S + 180)
    assert "shows no sign of life; it may have been killed" in ended["state"]["message"]
    assert _with(key) == []

    assert serving.ended(run)["state_type"] == "CRASHED"
    serving.retry(run)
    serving.in_state(run, "Running", "Retrying")
    ended = serving.ended(run, 2000)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert _servers(serving) == []
    assert serving.processes("VLLM::") == []  # what a server starts is called so
    assert not list(tmp_path.glob("workspace/scratch/generate/served-*"))

    children = serving.children_of(run)
    served = [child for child in children if child["name"] == "workspace: serve a model"]
    assert {child["work_pool_name"] for child in served} == {"gpu"}
    states = [child["state_type"] for child in served]
    assert sorted(states) == ["COMPLETED", "COMPLETED", "FAILED"]  # to generate, to evaluate; the orphan
    lines = [line["message"] for line in serving.logs(run)]
    assert any(line.startswith("base is served at http://127.0.0.1:") for line in lines)
    said = [line["message"] for child in served for line in serving.logs(child["id"])]
    texts = [serving.story(), *lines, *said, *(str(child["parameters"]) for child in children)]
    texts += [path.read_text() for path in tmp_path.rglob("*.log")]
    assert not [text for text in texts if key in text]


def _up(serving: Operation, directory: Path) -> None:
    serving.wait_for(lambda: list(directory.glob("workspace/scratch/generate/served-*/urls.json")), 900)


def _servers(serving: Operation) -> list[psutil.Process]:
    return serving.processes("figa_core.inference.vllm_server")


def _key_of(serving: Operation) -> str:
    """It is in the environment of the server, and in no command line."""
    keys = {process.environ()["VLLM_API_KEY"] for process in _servers(serving)}
    [key] = keys
    assert not serving.processes(key)
    return key


def _with(key: str) -> list[psutil.Process]:
    """The processes of this machine that have the key."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("VLLM_API_KEY") == key:
                found.append(process)
    return found


def _kill(serving: Operation, run: str) -> None:
    for process in serving.processes("deployments.engine"):
        environment: dict[str, Any] = process.environ()
        if environment.get("PREFECT__FLOW_RUN_ID") == run:
            os.kill(process.pid, signal.SIGKILL)
            return
    raise AssertionError("the run has no process")
