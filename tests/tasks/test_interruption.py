"""A signal in the middle of a stage ends it at once; what was done is stored, the stage goes on from there.

The signal reaches this process, as it would a run's.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
from tasks.generate import generate
from tasks.import_prompts import import_prompts
from tasks.score import score_responses
from tasks.workspace import Workspace

from .conftest import NOBODY, RUN, Chain

MakeChain = Callable[..., Chain]


def stop(*_: object) -> None:
    """What a person does, or Kubernetes."""
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    with interruption.listening():
        yield


@pytest.fixture
def chain(make_chain: MakeChain) -> Chain:
    return make_chain(NOBODY)


def test_import(make_chain: MakeChain, workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"question {i}"}) + "\n" for i in range(2500)))
    chain, config = make_chain(NOBODY), PromptsConfig(path=path)
    arguments = (workspace, RUN, config, chain.sampling.model, chain.reward.model)
    with pytest.raises(InterruptedRunError):
        import_prompts.fn(*arguments, on_progress=stop)
    interruption.clear()
    assert _rows(workspace, "run_prompts") == 1000
    import_prompts.fn(*arguments)
    assert _rows(workspace, "run_prompts") == 2500


def test_generation(chain: Chain, workspace: Workspace) -> None:
    import_prompts.fn(workspace, RUN, chain.prompts, chain.sampling.model, chain.reward.model)
    arguments = (workspace, RUN, chain.generation, chain.sampling, 200)
    endless = chain.generation.model_copy(update={"max_tokens": 100_000})
    threading.Timer(1.0, stop).start()
    with pytest.raises(InterruptedRunError):
        generate.fn(workspace, RUN, endless, chain.sampling, 200)
    interruption.clear()
    result = generate.fn(*arguments)
    assert result.n_in == result.n_out > 0


def test_scoring(chain: Chain, workspace: Workspace) -> None:
    import_prompts.fn(workspace, RUN, chain.prompts, chain.sampling.model, chain.reward.model)
    generate.fn(workspace, RUN, chain.generation, chain.sampling, 200)
    small = chain.reward.model_copy(update={"tokens_per_batch": 64})
    with pytest.raises(InterruptedRunError):
        score_responses.fn(workspace, RUN, small, chain.generator, Split.TRAIN, on_progress=stop)
    interruption.clear()
    responses = responses_of(RUN, chain.generator, Split.TRAIN)
    left = count_unscored(workspace.database, responses, chain.scorer)
    assert left == _rows(workspace, "responses") - 1
    assert score_responses.fn(workspace, RUN, small, chain.generator, Split.TRAIN).n_in == left


calls: list[str] = []


def verifies_until_stopped(messages: Sequence[Message], text: str) -> float:
    calls.append(text)
    if len(calls) == 3:
        stop()
    return 0.5


def test_evaluation(workspace: Workspace) -> None:
    prompts = [_held_out(number) for number in range(5)]
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


def _held_out(number: int) -> Prompt:
    messages = (Message("user", f"question {number}"),)
    return Prompt(ids.prompt_id(messages), messages, Split.HELD_OUT)


def test_waiting_for_a_workspace(tmp_path: Path) -> None:
    with workspace_lease(tmp_path, owner="another"):
        threading.Timer(0.3, stop).start()
        with pytest.raises(InterruptedRunError), workspace_lease(tmp_path, owner="me", timeout_s=60):
            pass
    assert not is_held(tmp_path)


def test_generation_by_vllm_ends_its_worker(sandbox: Sandbox, tmp_path: Path) -> None:
    """The worker is a program that starts and says nothing any more, as an engine that loads a model."""
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
