"""The real vLLM in its own interpreter, compared with transformers in this one."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from figa_core.chat.format import ChatFormat
from figa_core.errors import EngineError
from figa_core.inference.copies import Copies
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.transformers import TransformersGenerator, TransformersScorer
from figa_core.inference.vllm import VllmEngine, worker_engine
from figa_core.inference.vllm_process import CPU_ENVIRONMENT, ENVIRONMENT
from figa_core.inference.vllm_python import find_vllm_python
from figa_core.models.plain_reward import write_plain_form
from figa_core.ports import GenerationRequest, RowFailure, ScoringRequest
from figa_core.processes.children import child_environment
from figa_core.records import FinishReason
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations, rewards

PYTHON = find_vllm_python()
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(PYTHON is None, reason="no environment with vLLM (`make setup` makes one)"),
]
MAX_TOKENS = 24


@pytest.fixture
def starts() -> list[str]:
    return []


@pytest.fixture
def engine(starts: list[str]) -> Iterator[VllmEngine]:
    with VllmEngine(starts.append) as engine:
        yield engine


def _generating(model: Path, stops: Sequence[int], temperature: float) -> Generating:
    return Generating(
        model,
        stops,
        temperature,
        max_tokens=MAX_TOKENS,
        max_prompt_tokens=300 - MAX_TOKENS,
        gpu_memory_share=0.2,
        rows_per_shard=64,
    )


def _scoring(model: Path) -> Scoring:
    return Scoring(model, max_length=300, gpu_memory_share=0.2, rows_per_shard=64)


def test_greedy_tokens_equal_those_of_transformers(
    engine: VllmEngine,
    sandbox: Sandbox,
    chat: ChatFormat,
    generation_requests: list[GenerationRequest],
    tmp_path: Path,
) -> None:
    settings = _generating(sandbox.base_model, chat.stop_token_ids, temperature=0.0)
    ours = generations(engine.generator(settings, tmp_path).generate(generation_requests))
    theirs = generations(TransformersGenerator(settings).generate(generation_requests))

    assert ours.keys() == theirs.keys()
    equal = sum(ours[key] == theirs[key] for key in ours)
    assert equal >= 0.95 * len(ours) >= 100
    assert {g.finish_reason for g in ours.values()} == {FinishReason.STOP, FinishReason.LENGTH}
    assert "dtype=torch.float32" in (tmp_path / "worker.log").read_text()  # the checkpoint's
    assert not list(tmp_path.rglob("*.parquet"))  # the exchange is cleaned up


def test_a_sample_depends_on_its_seed_and_not_on_other_rows(
    engine: VllmEngine,
    sandbox: Sandbox,
    chat: ChatFormat,
    generation_requests: list[GenerationRequest],
    tmp_path: Path,
) -> None:
    repeated = generation_requests[:8]
    again = [GenerationRequest(f"again {r.request_id}", r.prompt_ids, r.seed) for r in repeated]
    (full_stop,) = chat.response_ids(".")
    vllm = engine.generator(_generating(sandbox.base_model, [full_stop], temperature=1.0), tmp_path)
    # The repetitions are in the second shard, among other rows.
    batches = vllm.generate([*generation_requests[:100], *again])
    samples = {key: g.token_ids for key, g in generations(batches).items()}

    assert all(samples[r.request_id] == samples[f"again {r.request_id}"] for r in repeated)
    assert len(set(samples.values())) > 90
    # Only the requested tokens end a sample, whatever the checkpoint has as its end of text.
    drawn = {token for ids in samples.values() for token in ids}
    assert full_stop not in drawn
    assert drawn & set(chat.stop_token_ids)


@pytest.mark.slow
def test_two_copies_draw_and_rate_what_one_does_though_one_is_killed(
    engine: VllmEngine,
    starts: list[str],
    sandbox: Sandbox,
    chat: ChatFormat,
    generation_requests: list[GenerationRequest],
    scoring_requests: list[ScoringRequest],
    tmp_path: Path,
) -> None:
    alone = replace(_generating(sandbox.base_model, chat.stop_token_ids, 1.0), rows_per_shard=8)
    two = replace(alone, copies=Copies(data_parallel=2))
    expected = generations(engine.generator(alone, tmp_path).generate(generation_requests))
    engine.close()

    others = set(psutil.Process().children())
    batches = engine.generator(two, tmp_path).generate(generation_requests)
    first = next(batches)
    copies = set(psutil.Process().children()) - others
    assert len(copies) == 2
    copies.pop().kill()
    rest = list(batches)
    assert sum(map(len, [first, *rest])) == len(generation_requests)
    assert generations([first, *rest]) == expected
    assert len([line for line in starts if "its rows go to the others" in line]) == 1

    scoring = replace(_scoring(sandbox.reward_model), rows_per_shard=8)
    rated = rewards(engine.scorer(scoring, tmp_path).score(scoring_requests))
    twice = replace(scoring, copies=Copies(data_parallel=2))
    assert rewards(engine.scorer(twice, tmp_path).score(scoring_requests)) == pytest.approx(rated, abs=1e-5)


def test_rewards_equal_the_raw_logits_of_transformers(
    engine: VllmEngine, sandbox: Sandbox, scoring_requests: list[ScoringRequest], tmp_path: Path
) -> None:
    settings = _scoring(sandbox.reward_model)
    ours = rewards(engine.scorer(settings, tmp_path).score(scoring_requests))
    theirs = rewards(TransformersScorer(settings).score(scoring_requests))
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.slow
def test_a_value_head_saved_with_a_causal_model_gives_the_rewards_of_the_classifier(
    engine: VllmEngine, sandbox: Sandbox, scoring_requests: list[ScoringRequest], tmp_path: Path
) -> None:
    model = shutil.copytree(sandbox.reward_model, tmp_path / "published")
    weights = load_file(model / "model.safetensors")
    head, embedding = weights.pop("score.weight"), weights["model.embed_tokens.weight"]
    value_head = {"v_head.summary.weight": head, "v_head.summary.bias": torch.tensor([-1.5])}
    weights = {**weights, **value_head, "lm_head.weight": embedding.clone()}
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    published = {**config, "architectures": ["LlamaForCausalLM"], "id2label": None, "label2id": None}
    (model / "config.json").write_text(json.dumps(published))
    write_plain_form(model, tmp_path / "plain", None)

    ours = rewards(engine.scorer(_scoring(tmp_path / "plain"), tmp_path).score(scoring_requests))
    theirs = rewards(TransformersScorer(_scoring(sandbox.reward_model)).score(scoring_requests))
    assert ours == pytest.approx({key: value - 1.5 for key, value in theirs.items()}, abs=1e-4)


def test_one_worker_serves_two_stages_and_ends_for_another_model(
    engine: VllmEngine,
    starts: list[str],
    sandbox: Sandbox,
    chat: ChatFormat,
    generation_requests: list[GenerationRequest],
    scoring_requests: list[ScoringRequest],
    tmp_path: Path,
) -> None:
    others = set(psutil.Process().children())  # servers that other tests share
    base, stops = sandbox.base_model, chat.stop_token_ids
    greedy = engine.generator(_generating(base, stops, 0.0), tmp_path / "generate")
    first = [g for batch in greedy.generate(generation_requests[:20]) for g in batch]
    # Another job on the same engine: other sampling settings and requests.
    sampled = engine.generator(_generating(base, stops, 1.0), tmp_path / "generate")
    second = [g for batch in sampled.generate(generation_requests[20:90]) for g in batch]
    again = [g for batch in greedy.generate(generation_requests[:20]) for g in batch]
    assert [line.partition(";")[0] for line in starts] == ["starting vLLM for base"]
    assert [len(first), len(second)] == [20, 70]
    assert again == first

    scorer = engine.scorer(_scoring(sandbox.reward_model), tmp_path / "score")
    rewards = [pair for batch in scorer.score(scoring_requests[:10]) for pair in batch]
    assert starts[1].startswith("starting vLLM for reward;")
    assert len(rewards) == 10
    assert len(set(psutil.Process().children()) - others) == 1  # the first one released its memory
    engine.close()
    assert set(psutil.Process().children()) <= others


def test_the_error_of_a_failing_worker_has_the_end_of_its_log(
    engine: VllmEngine, sandbox: Sandbox, tmp_path: Path
) -> None:
    model = shutil.copytree(sandbox.base_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "architectures": ["NobodysModel"]}))
    vllm = engine.generator(_generating(model, [2], temperature=0.0), tmp_path / "scratch")
    with pytest.raises(EngineError, match=r"worker\.log(.|\n)*last lines(.|\n)*NobodysModel"):
        list(vllm.generate([GenerationRequest("request", (1, 2), 0)]))


def test_a_missing_model_is_named_before_anything_starts(engine: VllmEngine, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="missing"):
        engine.generator(_generating(tmp_path / "missing", [2], 0.0), tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_model_that_is_not_a_reward_model_is_refused(
    engine: VllmEngine, sandbox: Sandbox, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="not a reward model"):
        engine.scorer(_scoring(sandbox.base_model), tmp_path)


def test_without_requests_no_worker_starts(sandbox: Sandbox, tmp_path: Path) -> None:
    scorer = VllmEngine(python=tmp_path / "no-python").scorer(_scoring(sandbox.reward_model), tmp_path)
    assert list(scorer.score([])) == []


def test_a_missing_interpreter_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    scorer = VllmEngine(python=tmp_path / "no-python").scorer(_scoring(sandbox.reward_model), tmp_path)
    with pytest.raises(EngineError, match=r"no-python.*make setup"):
        list(scorer.score([ScoringRequest("text", (1, 2))]))


PARENT = """
import sys
from pathlib import Path
from figa_core.inference.engine import Generating
from figa_core.inference.vllm import VllmEngine, worker_engine
from figa_core.inference.vllm_process import CPU_ENVIRONMENT, ENVIRONMENT
from figa_core.ports import GenerationRequest
model, scratch, python = map(Path, sys.argv[1:])
settings = Generating(
    model, [0], max_tokens=100, max_prompt_tokens=200, gpu_memory_share=0.2, rows_per_shard=8
)
vllm = VllmEngine(python=python).generator(settings, scratch)
for batch in vllm.generate(GenerationRequest(str(i), (1, 5, 6), i) for i in range(4000)):
    print(len(batch), flush=True)
"""


@pytest.mark.parametrize("when", ["starting", "generating"])
def test_the_worker_dies_with_a_killed_parent(sandbox: Sandbox, tmp_path: Path, when: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(sandbox.base_model), str(tmp_path), str(PYTHON)],
        stdout=subprocess.PIPE,
    )
    try:
        assert parent.stdout is not None
        if when == "generating":
            assert parent.stdout.readline() == b"8\n"
        worker = _only_child(parent)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        _, alive = psutil.wait_procs([worker], timeout=20)
        assert alive == []
    finally:
        parent.kill()
        parent.communicate()


def _only_child(parent: subprocess.Popen[bytes]) -> psutil.Process:
    deadline = time.monotonic() + 200  # a busy machine takes a minute to check the model
    while not (children := psutil.Process(parent.pid).children()):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (worker,) = children
    return worker


def test_rows_that_the_engine_cannot_process_fail_alone(
    engine: VllmEngine,
    sandbox: Sandbox,
    chat: ChatFormat,
    generation_requests: list[GenerationRequest],
    scoring_requests: list[ScoringRequest],
    tmp_path: Path,
) -> None:
    odd = {"huge": (1, 10**6), "long": (5,) * 301, "none": (), "full": (5,) * 300}
    vllm = engine.generator(_generating(sandbox.base_model, chat.stop_token_ids, 0.0), tmp_path / "generate")
    requests = [*(GenerationRequest(key, ids, 0) for key, ids in odd.items()), *generation_requests[:4]]
    drawn = [row for batch in vllm.generate(requests) for row in batch]
    assert [row.row_id for row in drawn if isinstance(row, RowFailure)] == list(odd)
    assert len(drawn) == len(requests)

    scorer = engine.scorer(_scoring(sandbox.reward_model), tmp_path / "score")
    texts = [*(ScoringRequest(key, ids) for key, ids in odd.items()), *scoring_requests[:4]]
    scored = [row for batch in scorer.score(texts) for row in batch]
    assert {row.row_id for row in scored if isinstance(row, RowFailure)} == {"huge", "long", "none"}
    assert len(scored) == len(texts)


@pytest.mark.slow
def test_samples_of_one_prompt_share_it_by_vllms_prefix_cache_and_are_those_without_it(
    sandbox: Sandbox, chat: ChatFormat, tmp_path: Path
) -> None:
    # A cached block has 128 tokens on CPUs, so one of these prompts has none.
    prompts = [[5 + (7 * place + length) % 200 for place in range(length)] for length in (300, 150, 60)]
    settings = worker_engine(_generating(sandbox.base_model, chat.stop_token_ids, 1.0))
    arguments = [json.dumps({**settings, "max_length": 400}), json.dumps(prompts), str(tmp_path / "found")]
    log = tmp_path / "log"
    with log.open("wb") as output:
        done = subprocess.run(
            [str(PYTHON), "-m", "tests.figa_core.inference.prefix_cached", *arguments],
            env=child_environment(**ENVIRONMENT, **CPU_ENVIRONMENT, OMP_NUM_THREADS="1"),
            stdout=output, stderr=output, check=False,
        )  # fmt: skip
    assert done.returncode == 0, log.read_text(errors="replace")[-3000:]
    found = json.loads((tmp_path / "found").read_text())
    for way, samples in found["as it comes"].items():
        assert [ids for ids, _ in samples] == [ids for ids, _ in found["none"][way]]
        cached = [tokens for _, tokens in samples]
        assert min(cached[1:3]) >= 256  # of the second and third sample of the longest prompt
    assert not any(tokens for samples in found["none"].values() for _, tokens in samples)
