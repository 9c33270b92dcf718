"""Which engine a stage gets, what is said about it, and how long vLLM stays up."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from figa_core.config import Engine, GenerationConfig, RewardConfig
from figa_core.errors import EngineError
from figa_core.inference.choice import Work
from figa_core.inference.vllm import VllmGenerator, VllmScorer
from figa_core.inference.vllm_process import PYTHON_VARIABLE
from figa_core.ports import Generator, ScoringRequest
from figa_core.sandbox.build import Sandbox
from tasks.engines import Engines, lent, sampled_length
from tests.figa_core.inference.outcomes import rewards

# Stands in for vLLM's interpreter: every text's reward is the worker's pid.
WORKER = """
import json, os, sys
from pathlib import Path
from figa_core.inference import exchange
from figa_core.processes.children import die_with_parent
die_with_parent()
for line in sys.stdin.buffer:
    job = json.loads(line)
    for source in Path(job["input"]).glob("*.parquet"):
        subjects, _ = exchange.read_shard(source, exchange.SCORING_REQUESTS)
        rewards = [float(os.getpid())] * len(subjects)
        columns = [subjects, rewards, [None] * len(subjects)]
        exchange.write_shard(Path(job["output"]) / source.name, columns, exchange.SCORES)
"""


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that has vLLM, as far as it can be asked."""
    (tmp_path / "worker.py").write_text(WORKER)
    path = tmp_path / "python"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit 0\nexec {sys.executable} {tmp_path / "worker.py"} "$@"\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv(PYTHON_VARIABLE, str(path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return path


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def engines(said: list[str]) -> Iterator[Engines]:
    with Engines(said.append) as engines:
        yield engines


@pytest.fixture
def reward_of(engines: Engines, sandbox: Sandbox, tmp_path: Path) -> Callable[..., int]:
    """Scores one text by the vLLM that is up, or a new one; hands back its pid."""

    def score(max_length: int = 300) -> int:
        config = RewardConfig(model=sandbox.reward_model, engine=Engine.VLLM, max_length=max_length)
        scorer = engines.scorer(config, Work(1, 10), scratch=tmp_path / "scratch")
        assert isinstance(scorer, VllmScorer)
        return int(rewards(scorer.score([ScoringRequest("text", (1, 2, 3))]))["text"])

    return score


def _generator(engines: Engines, sandbox: Sandbox, tmp_path: Path, rows: int, engine: Engine) -> Generator:
    return engines.generator(
        GenerationConfig(model=sandbox.base_model, engine=engine, max_tokens=100),
        sandbox.base_model,
        Work(rows, 40, 100),
        temperature=1.0,
        stop_token_ids=[2],
        max_prompt_tokens=200,
        scratch=tmp_path / "scratch",
    )


def test_a_dozen_rows_start_no_vllm_and_the_reason_is_said(
    engines: Engines, said: list[str], interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    generator = _generator(engines, sandbox, tmp_path, 12, Engine.AUTO)
    assert not isinstance(generator, VllmGenerator)
    (line,) = said
    assert line.startswith("generating 12 responses by transformers: about ")
    assert "vLLM would take" in line


def test_a_choice_is_said_once_for_a_kind_of_work_and_a_model(
    engines: Engines, said: list[str], interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    config = RewardConfig(model=sandbox.reward_model, max_length=300)
    for rows in (12, 8):
        _generator(engines, sandbox, tmp_path, rows, Engine.AUTO)
        engines.scorer(config, Work(rows, 10), scratch=tmp_path / "scratch")
    assert [line.partition(":")[0] for line in said] == [
        "generating 12 responses by transformers",
        "scoring 12 texts by transformers",
    ]
    _generator(engines, sandbox, tmp_path, 200_000, Engine.AUTO)
    assert said[-1].startswith("generating 200,000 responses by vLLM")


def test_many_rows_are_vllms_and_nothing_starts_before_they_come(
    engines: Engines, said: list[str], interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    generator = _generator(engines, sandbox, tmp_path, 200_000, Engine.AUTO)
    assert isinstance(generator, VllmGenerator)
    (line,) = said
    assert line.startswith("generating 200,000 responses by vLLM: about ")


def test_an_engine_that_is_named_is_not_chosen(
    engines: Engines, said: list[str], interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    assert isinstance(_generator(engines, sandbox, tmp_path, 1, Engine.VLLM), VllmGenerator)
    generator = _generator(engines, sandbox, tmp_path, 200_000, Engine.TRANSFORMERS)
    assert not isinstance(generator, VllmGenerator)
    assert said == []


def test_one_vllm_serves_the_stages_that_follow_and_its_start_is_said_once(
    reward_of: Callable[..., int], said: list[str], interpreter: Path
) -> None:
    assert reward_of() == reward_of()
    assert [line.partition(";")[0] for line in said] == ["starting vLLM for reward"]


def test_auto_takes_the_vllm_that_is_up(
    reward_of: Callable[..., int],
    engines: Engines,
    said: list[str],
    interpreter: Path,
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    reward_of()
    config = RewardConfig(model=sandbox.reward_model, max_length=300)
    assert isinstance(engines.scorer(config, Work(3, 10), scratch=tmp_path / "scratch"), VllmScorer)
    assert said[-1] == "scoring 3 texts by vLLM: vLLM is up with this model already"


def test_the_vllm_that_is_up_gives_way_to_any_other_engine(
    reward_of: Callable[..., int], engines: Engines, interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    first = reward_of()
    second = reward_of(100)
    assert first != second
    assert not _runs(first)
    _generator(engines, sandbox, tmp_path, 1, Engine.TRANSFORMERS)
    assert not _runs(second)


def test_the_end_of_a_run_is_the_end_of_its_vllm(
    reward_of: Callable[..., int], engines: Engines, interpreter: Path
) -> None:
    pid = reward_of()
    assert _runs(pid)
    engines.end()
    assert not _runs(pid)


def test_a_stage_outside_a_run_gets_engines_of_its_own(engines: Engines) -> None:
    with lent(engines) as own:
        assert own is engines
    with lent(None) as own:
        assert own is not engines


def test_vllm_by_name_needs_its_environment(
    engines: Engines, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "no-python"))
    with pytest.raises(EngineError, match=PYTHON_VARIABLE):
        _generator(engines, sandbox, tmp_path, 1, Engine.VLLM)


def test_the_length_of_the_first_requests_is_measured_and_none_is_lost() -> None:
    requests = [ScoringRequest(str(n), (0,) * (n % 4)) for n in range(1000)]
    mean, same = sampled_length(iter(requests), lambda request: request.token_ids)
    assert (mean, list(same)) == (1.5, requests)
    mean, same = sampled_length(iter(()), lambda request: request)
    assert (mean, list(same)) == (0.0, [])


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
