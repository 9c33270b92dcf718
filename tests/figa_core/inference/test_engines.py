"""Which engine a stage gets, what is said about it, and how long vLLM stays up."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from figa_core.errors import EngineError
from figa_core.inference.choice import Work
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.engines import Engines
from figa_core.inference.vllm import VllmGenerator, VllmScorer
from figa_core.inference.vllm_python import PYTHON_VARIABLE
from figa_core.ports import Generator, ScoringRequest
from figa_core.sandbox.build import Sandbox
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
        settings = Scoring(sandbox.reward_model, max_length)
        scorer = engines.scorer("vllm", settings, Work(1, 10), tmp_path / "scratch")
        assert isinstance(scorer, VllmScorer)
        return int(rewards(scorer.score([ScoringRequest("text", (1, 2, 3))]))["text"])

    return score


def _generator(engines: Engines, sandbox: Sandbox, tmp_path: Path, rows: int, engine: str) -> Generator:
    settings = Generating(sandbox.base_model, stop_token_ids=(2,), max_tokens=100, max_prompt_tokens=200)
    return engines.generator(engine, settings, Work(rows, 40, 100), tmp_path / "scratch")


def test_a_dozen_rows_start_no_vllm_and_the_reason_is_reported(
    engines: Engines, said: list[str], interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    generator = _generator(engines, sandbox, tmp_path, 12, "auto")
    assert not isinstance(generator, VllmGenerator)
    (line,) = said
    assert line.startswith("generating 12 responses by transformers: about ")
    assert "vLLM would take" in line


def test_a_choice_is_reported_once_per_kind_of_work_and_model(
    engines: Engines, said: list[str], interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = Scoring(sandbox.reward_model, 300)
    for rows in (12, 8):
        _generator(engines, sandbox, tmp_path, rows, "auto")
        engines.scorer("auto", settings, Work(rows, 10), tmp_path / "scratch")
    assert [line.partition(":")[0] for line in said] == [
        "generating 12 responses by transformers",
        "scoring 12 texts by transformers",
    ]
    _generator(engines, sandbox, tmp_path, 200_000, "auto")
    assert said[-1].startswith("generating 200,000 responses by vLLM")


def test_many_rows_are_for_vllm_which_starts_only_when_they_arrive(
    engines: Engines, said: list[str], interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    generator = _generator(engines, sandbox, tmp_path, 200_000, "auto")
    assert isinstance(generator, VllmGenerator)
    (line,) = said
    assert line.startswith("generating 200,000 responses by vLLM: about ")


def test_a_named_engine_is_used(
    engines: Engines, said: list[str], interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    assert isinstance(_generator(engines, sandbox, tmp_path, 1, "vllm"), VllmGenerator)
    generator = _generator(engines, sandbox, tmp_path, 200_000, "transformers")
    assert not isinstance(generator, VllmGenerator)
    assert said == []


def test_one_vllm_serves_following_stages_and_its_start_is_reported_once(
    reward_of: Callable[..., int], said: list[str], interpreter: Path
) -> None:
    assert reward_of() == reward_of()
    assert [line.partition(";")[0] for line in said] == ["starting vLLM for reward"]


def test_auto_uses_the_running_vllm(
    reward_of: Callable[..., int],
    engines: Engines,
    said: list[str],
    interpreter: Path,
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    reward_of()
    settings = Scoring(sandbox.reward_model, 300)
    assert isinstance(engines.scorer("auto", settings, Work(3, 10), tmp_path / "scratch"), VllmScorer)
    assert said[-1] == "scoring 3 texts by vLLM: vLLM is up with this model already"


def test_the_running_vllm_ends_for_any_other_engine(
    reward_of: Callable[..., int], engines: Engines, interpreter: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    first = reward_of()
    second = reward_of(100)
    assert first != second
    assert not _runs(first)
    _generator(engines, sandbox, tmp_path, 1, "transformers")
    assert not _runs(second)


def test_the_vllm_ends_with_the_run(
    reward_of: Callable[..., int], engines: Engines, interpreter: Path
) -> None:
    pid = reward_of()
    assert _runs(pid)
    engines.end()
    assert not _runs(pid)


def test_vllm_by_name_needs_its_environment(
    engines: Engines, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "no-python"))
    with pytest.raises(EngineError, match=PYTHON_VARIABLE):
        _generator(engines, sandbox, tmp_path, 1, "vllm")


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
