"""Which engine a stage gets, the lines about it, and how long vLLM stays up."""

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
from figa_core.ports import Generator, Scorer, ScoringRequest
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import rewards

# Replaces vLLM's interpreter: every text's reward is the worker's pid.
WORKER = """
import json, os, sys
from pathlib import Path
from figa_core.inference import exchange
from figa_core.processes.children import die_with_parent
die_with_parent()
for line in sys.stdin.buffer:
    job = json.loads(line)
    subjects, _ = exchange.read_shard(Path(job["input"]), exchange.SCORING_REQUESTS)
    rewards = [float(os.getpid())] * len(subjects)
    columns = [subjects, rewards, [None] * len(subjects)]
    exchange.write_shard(Path(job["output"]), columns, exchange.SCORES)
"""


@pytest.fixture(autouse=True)
def _interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It claims to have vLLM."""
    (tmp_path / "worker.py").write_text(WORKER)
    path = tmp_path / "python"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit 0\nexec {sys.executable} {tmp_path / "worker.py"} "$@"\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv(PYTHON_VARIABLE, str(path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def engines(lines: list[str]) -> Iterator[Engines]:
    with Engines(lines.append) as engines:
        yield engines


@pytest.fixture
def generator_of(engines: Engines, sandbox: Sandbox, tmp_path: Path) -> Callable[[int, str], Generator]:
    """The generator of an engine for a number of rows."""
    settings = Generating(sandbox.base_model, stop_token_ids=(2,), max_tokens=100, max_prompt_tokens=200)
    scratch = tmp_path / "scratch"
    return lambda rows, engine: engines.generator(engine, settings, Work(rows, 40, 100), scratch)


@pytest.fixture
def scorer_of(engines: Engines, sandbox: Sandbox, tmp_path: Path) -> Callable[..., Scorer]:
    """The scorer of an engine for a number of rows."""

    def scorer(rows: int, engine: str, max_length: int = 300) -> Scorer:
        settings = Scoring(sandbox.reward_model, max_length)
        return engines.scorer(engine, settings, Work(rows, 10), tmp_path / "scratch")

    return scorer


@pytest.fixture
def score(scorer_of: Callable[..., Scorer]) -> Callable[..., int]:
    """Scores one text by vLLM; returns the worker's pid."""

    def score(max_length: int = 300) -> int:
        scorer = scorer_of(1, "vllm", max_length)
        return int(rewards(scorer.score([ScoringRequest("text", (1, 2, 3))]))["text"])

    return score


def test_a_dozen_rows_start_no_vllm_and_the_reason_is_reported(generator_of, lines):
    assert not isinstance(generator_of(12, "auto"), VllmGenerator)
    (line,) = lines
    assert line.startswith("generating 12 responses by transformers: about ")
    assert "vLLM would take" in line


def test_a_choice_is_reported_once_per_kind_of_work_and_model(generator_of, scorer_of, lines):
    for rows in (12, 8):
        generator_of(rows, "auto")
        scorer_of(rows, "auto")
    assert [line.partition(":")[0] for line in lines] == [
        "generating 12 responses by transformers",
        "scoring 12 texts by transformers",
    ]
    generator_of(200_000, "auto")
    assert lines[-1].startswith("generating 200,000 responses by vLLM")


def test_many_rows_are_for_vllm_which_starts_only_when_they_arrive(generator_of, lines):
    assert isinstance(generator_of(200_000, "auto"), VllmGenerator)
    (line,) = lines
    assert line.startswith("generating 200,000 responses by vLLM: about ")


def test_a_named_engine_is_used(generator_of, lines):
    assert isinstance(generator_of(1, "vllm"), VllmGenerator)
    assert not isinstance(generator_of(200_000, "transformers"), VllmGenerator)
    assert lines == []


def test_one_vllm_serves_following_stages_and_its_start_is_reported_once(score, lines):
    assert score() == score()
    assert [line.partition(";")[0] for line in lines] == ["starting vLLM for reward"]


def test_auto_uses_the_running_vllm(score, scorer_of, lines):
    score()
    assert isinstance(scorer_of(3, "auto"), VllmScorer)
    assert lines[-1] == "scoring 3 texts by vLLM: vLLM is up with this model already"


def test_the_running_vllm_ends_for_any_other_engine(score, generator_of):
    first, second = score(), score(100)
    assert first != second
    assert not _runs(first)
    generator_of(1, "transformers")
    assert not _runs(second)


def test_the_vllm_ends_with_the_run(score, engines):
    pid = score()
    assert _runs(pid)
    engines.end()
    assert not _runs(pid)


def test_vllm_by_name_needs_its_environment(generator_of, tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "no-python"))
    with pytest.raises(EngineError, match=PYTHON_VARIABLE):
        generator_of(1, "vllm")


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
