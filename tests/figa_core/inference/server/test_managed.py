"""Servers that the engine starts for itself; a stub in the place of vLLM, in a process of its own."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from figa_core.errors import EngineError
from figa_core.inference.copies import Copies
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.server.engine import ServerEngine
from figa_core.inference.server.launch import Launch, lora_rank_of
from figa_core.inference.servers import Servers
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations

from .adapters import random_adapter
from .asking import REQUESTS, all_of
from .stub import STOP
from .vllm_stub import Vllm


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def engine(vllm: Vllm, told: list[str]) -> Iterator[ServerEngine]:
    with ServerEngine(told.append) as engine:
        yield engine


def _settings(model: Path, **changes: Any) -> Generating:
    servers = Servers((), managed=True, patience_s=1.5)
    settings = Generating(model, (STOP,), max_tokens=8, max_prompt_tokens=292, servers=servers)
    return replace(settings, **changes)


def test_the_base_is_served_once_for_itself_and_its_adapters(
    engine: ServerEngine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path, told: list[str]
) -> None:
    adapters = [random_adapter(sandbox.base_model, tmp_path / f"adapter-{n}", seed=n) for n in (1, 2)]
    for model in (sandbox.base_model, *adapters, adapters[0]):
        settings = _settings(model)
        assert generations(engine.generator(settings, tmp_path).generate(REQUESTS)) == all_of(REQUESTS)
        assert engine.is_up(settings)
    assert len(vllm.pids()) == 1
    assert [line.partition(";")[0] for line in told] == ["starting 1 vLLM server(s) for base"]
    asked = Counter(model for _, model, _ in vllm.asked())
    expected = {sandbox.base_model: 1, adapters[0]: 2, adapters[1]: 1}
    assert asked == {str(model): times * len(REQUESTS) for model, times in expected.items()}
    engine.close()
    assert not [pid for pid in vllm.pids() if psutil.pid_exists(pid)]


def test_each_copy_is_a_server_and_all_take_part_also_behind_a_proxy(
    engine: ServerEngine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9" if name == "http_proxy" else "")
    settings = _settings(sandbox.base_model, copies=Copies(data_parallel=2))
    assert generations(engine.generator(settings, tmp_path).generate(REQUESTS)) == all_of(REQUESTS)
    assert len(vllm.pids()) == 2


def test_a_server_that_was_killed_is_started_again_for_the_next_stage(
    engine: ServerEngine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = _settings(sandbox.base_model)
    list(engine.generator(settings, tmp_path).generate(REQUESTS[:3]))
    (pid,) = vllm.pids()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while engine.is_up(settings):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(generations(engine.generator(settings, tmp_path).generate(REQUESTS))) == len(REQUESTS)


def test_other_settings_need_another_server(engine: ServerEngine, sandbox: Sandbox, tmp_path: Path) -> None:
    engine.generator(_settings(sandbox.base_model), tmp_path)
    assert engine.is_up(_settings(sandbox.base_model, max_tokens=4))
    assert not engine.is_up(_settings(sandbox.base_model, max_tokens=9))
    assert not engine.is_up(_settings(sandbox.base_model, gpu_memory_share=0.3))
    assert not engine.is_up(Scoring(sandbox.reward_model, servers=Servers((), managed=True)))
    assert not engine.is_up(Scoring(sandbox.reward_model, servers=Servers(("http://127.0.0.1:9",))))


def test_a_server_that_does_not_start_says_why_and_which_setting_to_lower(
    engine: ServerEngine, vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    (vllm.folder / "fails").write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB")
    with pytest.raises(
        EngineError, match=r"ended with code 1\. .*lower generation\.gpu_memory_share(.|\n)*Tried"
    ):
        engine.generator(_settings(sandbox.base_model), tmp_path)


def test_the_command_states_what_vllm_would_choose_itself(sandbox: Sandbox) -> None:
    launch = Launch(sandbox.base_model, 8000, max_length=300, lora_rank=64, on_cpu=True)
    command = " ".join(launch.command(Path("python")))
    for option in (
        "--dtype float32",
        "--generation-config vllm",
        "--max-model-len 300",
        "--max-lora-rank 64",
    ):
        assert option in command
    assert launch.environment()["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    rating = " ".join(Launch(sandbox.reward_model, 8000, rates=True).command(Path("python")))
    assert "--runner pooling --convert classify" in rating
    assert "lora" not in rating


def test_a_server_that_gets_no_adapters_has_no_lora_until_one_comes(
    vllm: Vllm, sandbox: Sandbox, tmp_path: Path
) -> None:
    adapter = _settings(random_adapter(sandbox.base_model, tmp_path / "adapter", seed=1))
    base = _settings(sandbox.base_model)
    with ServerEngine(adapter_rank=None) as engine:
        assert generations(engine.generator(base, tmp_path).generate(REQUESTS)) == all_of(REQUESTS)
        assert not engine.is_up(adapter)
        assert generations(engine.generator(adapter, tmp_path).generate(REQUESTS)) == all_of(REQUESTS)
        assert engine.is_up(base)
    assert ["--enable-lora" in options for options in vllm.started()] == [False, True]


def test_a_server_has_room_for_the_adapters_that_are_to_come(sandbox: Sandbox, tmp_path: Path) -> None:
    base = sandbox.base_model
    assert [lora_rank_of(base, rank) for rank in (None, 8, 64, 65, 1000)] == [None, 16, 64, 128, None]
    adapter = random_adapter(base, tmp_path / "adapter", seed=1)  # of rank 2
    assert [lora_rank_of(adapter, rank) for rank in (None, 100)] == [16, 128]


def test_a_server_has_room_for_adapters_of_usual_ranks(sandbox: Sandbox, tmp_path: Path) -> None:
    assert lora_rank_of(sandbox.base_model) == 64
    adapter = random_adapter(sandbox.base_model, tmp_path / "adapter", seed=1)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "rank_pattern": {"q_proj": 100}}))
    assert lora_rank_of(adapter) == 128
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "r": 1000}))
    with pytest.raises(EngineError, match=r"rank is 1000.*merges it"):
        lora_rank_of(adapter)
