"""The real vLLM in its own interpreter, compared with transformers in this one."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from figa_core.chat import ChatFormat
from figa_core.errors import EngineError
from figa_core.inference.transformers import TransformersGenerator, TransformersScorer
from figa_core.inference.vllm import VllmGenerator, VllmScorer, VllmSettings, find_vllm_python
from figa_core.ports import GenerationRequest, ScoringRequest
from figa_core.sandbox.build import Sandbox

PYTHON = find_vllm_python()
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(PYTHON is None, reason="no environment with vLLM (`make setup` makes one)"),
]
MAX_TOKENS = 24


def _settings(model: Path) -> VllmSettings:
    return VllmSettings(model=str(model), max_length=300, gpu_memory_share=0.2, rows_per_shard=64)


def _generator(model: Path, chat: ChatFormat, scratch: Path, temperature: float) -> VllmGenerator:
    assert PYTHON is not None
    return VllmGenerator(
        _settings(model),
        temperature=temperature,
        top_p=1.0,
        max_tokens=MAX_TOKENS,
        stop_token_ids=chat.stop_token_ids,
        scratch=scratch,
        python=PYTHON,
    )


def test_greedy_tokens_equal_those_of_transformers(
    sandbox: Sandbox, chat: ChatFormat, generation_requests: list[GenerationRequest], tmp_path: Path
) -> None:
    vllm = _generator(sandbox.base_model, chat, tmp_path, temperature=0.0)
    ours = {g.request_id: g for batch in vllm.generate(generation_requests) for g in batch}
    transformers = TransformersGenerator(
        sandbox.base_model,
        temperature=0.0,
        top_p=1.0,
        max_tokens=MAX_TOKENS,
        stop_token_ids=chat.stop_token_ids,
    )
    theirs = {g.request_id: g for batch in transformers.generate(generation_requests) for g in batch}

    assert ours.keys() == theirs.keys()
    equal = sum(ours[key] == theirs[key] for key in ours)
    assert equal >= 0.95 * len(ours) >= 100
    assert not list(tmp_path.rglob("*.parquet"))  # nothing is left of the exchange


def test_a_sample_depends_on_its_seed_and_not_on_its_company(
    sandbox: Sandbox, chat: ChatFormat, generation_requests: list[GenerationRequest], tmp_path: Path
) -> None:
    repeated = generation_requests[:8]
    again = [GenerationRequest(f"again {r.request_id}", r.prompt_ids, r.seed) for r in repeated]
    vllm = _generator(sandbox.base_model, chat, tmp_path, temperature=1.0)
    # The repetitions stand in the second shard, among other rows.
    batches = vllm.generate([*generation_requests[:100], *again])
    samples = {g.request_id: g.token_ids for batch in batches for g in batch}

    assert all(samples[r.request_id] == samples[f"again {r.request_id}"] for r in repeated)
    assert len(set(samples.values())) > 90


def test_rewards_equal_the_raw_logits_of_transformers(
    sandbox: Sandbox, scoring_requests: list[ScoringRequest], tmp_path: Path
) -> None:
    assert PYTHON is not None
    vllm = VllmScorer(_settings(sandbox.reward_model), scratch=tmp_path, python=PYTHON)
    ours = dict(pair for batch in vllm.score(scoring_requests) for pair in batch)
    transformers = TransformersScorer(sandbox.reward_model)
    theirs = dict(pair for batch in transformers.score(scoring_requests) for pair in batch)
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_worker_that_fails_hands_on_the_end_of_its_log(
    sandbox: Sandbox, chat: ChatFormat, no_model: Path, tmp_path: Path
) -> None:
    (no_model / "config.json").write_text("{}")
    vllm = _generator(no_model, chat, tmp_path / "scratch", temperature=0.0)
    with pytest.raises(EngineError, match=r"worker\.log"):
        list(vllm.generate([GenerationRequest("request", (1, 2), 0)]))


def test_an_interpreter_that_is_not_there_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    scorer = VllmScorer(_settings(sandbox.reward_model), scratch=tmp_path, python=tmp_path / "no-python")
    with pytest.raises(EngineError, match="no-python"):
        list(scorer.score([ScoringRequest("text", (1, 2))]))


def test_the_worker_dies_with_a_killed_parent(sandbox: Sandbox, chat: ChatFormat, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from figa_core.inference.vllm import VllmScorer, VllmSettings\n"
        "from figa_core.ports import ScoringRequest\n"
        "model, scratch, python = sys.argv[1:]\n"
        "scorer = VllmScorer(VllmSettings(model, 300, gpu_memory_share=0.2), scratch=Path(scratch), "
        "python=Path(python))\n"
        "list(scorer.score([ScoringRequest('text', (1, 2))]))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(sandbox.reward_model), str(tmp_path), str(PYTHON)]
    )
    deadline = time.monotonic() + 60
    while not (children := psutil.Process(parent.pid).children()):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
