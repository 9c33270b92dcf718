"""TRL itself on the sandbox's models; skipped where `make rl` has not installed it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from figa_core.chat.format import load_chat_format
from figa_core.errors import DivergedTrainingError
from figa_core.records import Message
from figa_core.rl.environments import find_python
from figa_core.rl.job import ENTROPY, GENERATED, KL, PEAK, REWARD, SCORED, RlJob
from figa_core.rl.launch import run_rl
from figa_core.rl.methods import rl_method
from figa_core.rl.prompts_file import write_prompts
from figa_core.sandbox.build import Sandbox
from figa_core.training.checkpoints import check_model
from figa_core.training.metrics import read_metrics

from .jobs import rl_job

pytestmark = [pytest.mark.trl, pytest.mark.slow, pytest.mark.timeout(600)]

PROMPTS = 20


def job_of(name: str, sandbox: Sandbox, directory: Path, **settings: Any) -> RlJob:
    method = rl_method(name)
    if find_python(method.environment) is None:
        pytest.skip(f"there is no {method.environment.folder}; `make rl` installs it")
    chat, rows = load_chat_format(sandbox.base_model), []
    for line in sandbox.prompts.read_text(encoding="utf-8").splitlines()[:PROMPTS]:
        messages = [Message(each["role"], each["content"]) for each in json.loads(line)["prompt"]]
        [ids] = chat.prompt_ids_or_reasons([messages])
        assert not isinstance(ids, str)
        rows.append((str(len(rows)), ids, messages))
    prompts = directory / "prompts.parquet"
    write_prompts(prompts, [rows])
    return rl_job(
        directory,
        method=name,
        model=sandbox.base_model,
        reward_model=sandbox.reward_model,
        prompts=prompts,
        samples_per_prompt=method.samples_per_prompt,
        kl_weight=method.kl_weight,
        token_budget=400,
        **settings,
    )


@pytest.mark.parametrize("name", ["grpo", "rloo", "ppo"])
def test_a_method_trains_within_its_budget_and_hands_back_a_model(
    name: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    job = job_of(name, sandbox, tmp_path)
    manifest = run_rl(job, log_path=tmp_path / "rl.log")
    steps = read_metrics(job.metrics_path)
    assert len(steps) == manifest.steps > 1
    generated = [int(step.figures[GENERATED] or 0) for step in steps]
    assert all(8 <= tokens <= 8 * job.max_tokens for tokens in generated)
    assert abs(sum(generated) - job.token_budget) <= 1.5 * sum(generated) / len(generated)
    # All steps but the first begin with a model that has moved away from the base.
    assert steps[0].figures[KL.name] == pytest.approx(0.0, abs=1e-6)
    assert any(abs(step.figures[KL.name] or 0.0) > 1e-6 for step in steps[1:])
    for step in steps:
        assert step.tokens > (step.figures[GENERATED] or 0)
        assert (step.figures[SCORED] or 0) > (step.figures[GENERATED] or 0)
        assert all(math.isfinite(step.figures[f.name] or 0.0) for f in (REWARD, KL, ENTROPY))
        assert (step.figures[PEAK] or 0) > 1e8
    check_model(job.output, manifest)
    before, after = (load_file(model / "model.safetensors") for model in (sandbox.base_model, job.model_dir))
    assert {key: (v.shape, v.dtype) for key, v in before.items()} == {
        key: (v.shape, v.dtype) for key, v in after.items()
    }
    assert any(not before[key].equal(after[key]) for key in before)
    for path in sandbox.base_model.iterdir():
        if path.suffix != ".safetensors":
            assert (job.model_dir / path.name).read_text() == path.read_text()


def test_a_wild_rate_diverges_and_exports_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    job = job_of("grpo", sandbox, tmp_path, learning_rate=1e30)
    with pytest.raises(DivergedTrainingError, match=r"[Nn]othing is exported"):
        run_rl(job, log_path=tmp_path / "rl.log")
    assert not job.model_dir.exists()
