"""Real vLLM servers that the engine starts for itself."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from figa_core.chat.format import ChatFormat
from figa_core.inference.engine import Generating
from figa_core.inference.server.engine import ServerEngine
from figa_core.inference.servers import Servers
from figa_core.inference.transformers import TransformersGenerator
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.ports import GenerationRequest
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations
from tests.figa_core.inference.server.adapters import merged, random_adapter
from tests.figa_core.inference.server.machine import Machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        find_vllm_python() is None, reason="no environment with vLLM (`make setup` makes one)"
    ),
]


def _settings(model: Path, chat: ChatFormat) -> Generating:
    return Generating(
        model,
        chat.stop_token_ids,
        temperature=0.0,
        max_tokens=24,
        max_prompt_tokens=276,
        gpu_memory_share=0.2,
        rows_per_shard=64,
        servers=Servers((), managed=True),
    )


@pytest.mark.parametrize("on_pool", [False, True], ids=["here", "on a pool"])
def test_one_server_samples_the_base_and_its_adapters_as_transformers_does(
    on_pool: bool,
    sandbox: Sandbox,
    chat: ChatFormat,
    generation_requests: list[GenerationRequest],
    tmp_path: Path,
) -> None:
    told: list[str] = []
    machine = Machine(lost_after_s=120.0)
    adapters = [random_adapter(sandbox.base_model, tmp_path / f"adapter-{n}", seed=n) for n in (1, 2)]
    found = {}
    with ServerEngine(told.append, machine.pool() if on_pool else None) as engine:
        for model in (sandbox.base_model, *adapters):
            drawn = engine.generator(_settings(model, chat), tmp_path / "logs").generate(generation_requests)
            found[model] = generations(drawn)
    assert [run.process.wait(60) for run in machine.runs] == [0] * on_pool
    started = [line for line in told if line.startswith("starting") or " is served at " in line]
    assert len(started) == 1
    for model, ours in found.items():
        whole = model if model == sandbox.base_model else merged(model, tmp_path / f"whole-{model.name}")
        settings = replace(_settings(whole, chat), servers=None)
        theirs = generations(TransformersGenerator(settings).generate(generation_requests))
        equal = sum(ours[key] == theirs[key] for key in theirs)
        assert equal >= 0.95 * len(theirs) >= 100, model
    assert found[adapters[0]] != found[adapters[1]] != found[sandbox.base_model]


PARENT = """
import sys, time
from pathlib import Path
from figa_core.inference.engine import Generating
from figa_core.inference.server.engine import ServerEngine
from figa_core.inference.servers import Servers
settings = Generating(
    Path(sys.argv[1]), (2,), max_tokens=24, max_prompt_tokens=276, gpu_memory_share=0.2,
    servers=Servers((), managed=True),
)
ServerEngine(print).generator(settings, Path(sys.argv[2]))
print("up", flush=True)
time.sleep(600)
"""


def test_no_process_of_a_server_outlives_a_killed_run(sandbox: Sandbox, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(sandbox.base_model), str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, "")
        assert any(line == "up\n" for line in lines), (tmp_path / "server-1.log").read_text()[-3000:]
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 2  # the server and its engine
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []
    finally:
        parent.kill()
        parent.communicate()
