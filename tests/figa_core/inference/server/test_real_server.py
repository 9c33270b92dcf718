"""Real vLLM servers, compared with the local engine on the same models."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.server.engine import ServerEngine
from figa_core.inference.servers import Servers
from figa_core.inference.vllm import VllmEngine
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.ports import GenerationRequest, ScoringRequest
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations, rewards

PYTHON = find_vllm_python()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.skipif(PYTHON is None, reason="no environment with vLLM (`make setup` makes one)"),
]
START_S = 900.0  # on a busy machine
LENGTH = 300
KEY = "key-of-the-servers"


@contextmanager
def serving(model: Path, log: Path, *options: str) -> Iterator[str]:
    """A server on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port),
        "--host", "127.0.0.1", "--dtype", "float32", "--max-model-len", str(LENGTH), "--enforce-eager",
        "--gpu-memory-utilization", "0.2", "--no-enable-chunked-prefill", "--max-num-batched-tokens", "16384",
        "--generation-config", "vllm", "--served-model-name", "tiny", "--api-key", KEY, *options,
    ]  # fmt: skip
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, log)
        yield url
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with vLLM's own processes
        process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"no server:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture
def samples(chat: ChatFormat, sandbox: Sandbox) -> Generating:
    return Generating(
        sandbox.base_model,
        chat.stop_token_ids,
        temperature=0.0,
        max_tokens=24,
        max_prompt_tokens=LENGTH - 24,
        gpu_memory_share=0.2,
        rows_per_shard=64,
    )


def test_greedy_samples_are_those_of_the_local_engine(
    sandbox: Sandbox, samples: Generating, generation_requests: list[GenerationRequest], tmp_path: Path
) -> None:
    with VllmEngine() as local:
        expected = generations(local.generator(samples, tmp_path / "local").generate(generation_requests))
    with serving(sandbox.base_model, tmp_path / "server.log") as url:
        there = Generating(
            samples.model,
            samples.stop_token_ids,
            temperature=0.0,
            max_tokens=24,
            max_prompt_tokens=LENGTH - 24,
            servers=Servers((url + "/v1",), model="tiny", api_key=KEY),
        )
        found = generations(ServerEngine().generator(there, tmp_path).generate(generation_requests))
    assert found.keys() == expected.keys()
    equal = sum(found[key] == expected[key] for key in expected)
    assert equal >= 0.95 * len(expected)


def test_rewards_are_those_of_the_local_engine(
    sandbox: Sandbox, scoring_requests: list[ScoringRequest], tmp_path: Path
) -> None:
    scoring = Scoring(sandbox.reward_model, LENGTH, gpu_memory_share=0.2)
    with VllmEngine() as local:
        expected = rewards(local.scorer(scoring, tmp_path / "local").score(scoring_requests))
    pooling = ("--runner", "pooling", "--convert", "classify")
    with serving(sandbox.reward_model, tmp_path / "server.log", *pooling) as url:
        there = Scoring(sandbox.reward_model, LENGTH, servers=Servers((url,), api_key=KEY))
        found = rewards(ServerEngine().scorer(there, tmp_path).score(scoring_requests))
    assert found == pytest.approx(expected, abs=1e-4)
