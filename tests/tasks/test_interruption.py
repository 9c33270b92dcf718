"""A signal ends a stage at once; what was done is stored, and the stage continues from there.

The signal is sent to this process, as to a run's.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from figa_core import ids
from figa_core.config import EvaluationConfig, PromptsConfig
from figa_core.errors import InterruptedRunError
from figa_core.inference.engine import Generating
from figa_core.inference.vllm import VllmEngine
from figa_core.ports import GenerationRequest
from figa_core.processes import interruption
from figa_core.processes.lease import is_held, workspace_lease
from figa_core.records import FinishReason, Message, Prompt, Response, Split
from figa_core.sandbox.build import Sandbox
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import count_unscored, responses_of
from tasks.evaluate import evaluate
from tasks.workspace import Workspace

from .conftest import NOBODY, RUN, Chain, MakeChain


def stop(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    with interruption.listening():
        yield


def test_import(make_chain: MakeChain, workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"question {i}"}) + "\n" for i in range(2500)))
    chain = make_chain(NOBODY, path)
    chain.prompts = PromptsConfig(path=path)
    with pytest.raises(InterruptedRunError):
        chain.import_prompts(on_progress=stop)
    interruption.clear()
    assert _rows(workspace, "run_prompts") == 1000
    chain.import_prompts()
    assert _rows(workspace, "run_prompts") == 2500


def test_generation(chain: Chain) -> None:
    chain.import_prompts()
    usual = chain.generation
    chain.generation = usual.model_copy(update={"max_tokens": 100_000})
    threading.Timer(1.0, stop).start()
    with pytest.raises(InterruptedRunError):
        chain.generate()
    interruption.clear()
    chain.generation = usual
    result = chain.generate()
    assert result.n_in == result.n_out > 0


def test_scoring(chain: Chain, workspace: Workspace) -> None:
    chain.import_prompts()
    chain.generate()
    chain.reward = chain.reward.model_copy(update={"tokens_per_batch": 64})
    with pytest.raises(InterruptedRunError):
        chain.score_responses(on_progress=stop)
    interruption.clear()
    responses = responses_of(RUN, chain.generator, Split.TRAIN)
    left = count_unscored(workspace.database, responses, chain.scorer)
    assert left == _rows(workspace, "responses") - 1
    assert chain.score_responses().n_in == left


calls: list[str] = []


def verifies_until_stopped(messages: Sequence[Message], text: str) -> float:
    calls.append(text)
    if len(calls) == 3:
        stop()
    return 0.5


def test_evaluation(workspace: Workspace) -> None:
    asked = [(Message("user", f"question {number}"),) for number in range(5)]
    prompts = [Prompt(ids.prompt_id(messages), messages, Split.HELD_OUT) for messages in asked]
    save_prompts(workspace.database, RUN, prompts)
    save_responses(
        workspace.database,
        "generator",
        [Response(p.prompt_id, p.prompt_id, 0, "an answer", (1,), FinishReason.STOP) for p in prompts],
    )
    config = EvaluationConfig(verifier=f"{__name__}:verifies_until_stopped")
    calls.clear()
    with pytest.raises(InterruptedRunError):
        evaluate.fn(workspace, RUN, config, "base", "generator", "scorer")
    assert len(calls) == 3
    interruption.clear()
    assert evaluate.fn(workspace, RUN, config, "base", "generator", "scorer").n_in == 5


def test_waiting_for_a_workspace(tmp_path: Path) -> None:
    with workspace_lease(tmp_path, owner="another"):
        threading.Timer(0.3, stop).start()
        with pytest.raises(InterruptedRunError), workspace_lease(tmp_path, owner="me", timeout_s=60):
            pass
    assert not is_held(tmp_path)


def test_generation_by_vllm_ends_its_worker(sandbox: Sandbox, tmp_path: Path) -> None:
    """The worker is a program that starts and then writes nothing, like an engine that loads a model."""
    worker = tmp_path / "python"
    worker.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    worker.chmod(0o755)
    engine = VllmEngine(python=worker)
    generator = engine.generator(Generating(sandbox.base_model, stop_token_ids=(0,)), tmp_path / "scratch")

    def stop_when_it_runs() -> None:
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        stop()

    threading.Thread(target=stop_when_it_runs, daemon=True).start()
    with pytest.raises(InterruptedRunError):
        list(generator.generate([GenerationRequest("one", (1, 2), 0)]))
    deadline = time.monotonic() + 30
    while psutil.pid_exists(int((tmp_path / "pid").read_text())):  # another thread reaps it
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _rows(workspace: Workspace, table: str) -> int:
    return workspace.database.fetch(f"SELECT count(*) FROM {table}")[0][0]
