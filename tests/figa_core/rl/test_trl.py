"""TRL itself on the sandbox's models; skipped where `make rl` has not installed it."""

import json
import math
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from figa_core.chat.format import load_chat_format
from figa_core.errors import DivergedTrainingError
from figa_core.records import Message
from figa_core.rewards.worker import Interpreter
from figa_core.rl.environments import find_python
from figa_core.rl.job import ALIKE, ENTROPY, GENERATED, KL, PEAK, REWARD, SCORED, UNSCORED, RlJob
from figa_core.rl.job_rewards import JobReward, ProgramReward
from figa_core.rl.launch import run_rl
from figa_core.rl.methods import rl_method
from figa_core.rl.prompts_file import PromptRow, write_prompts
from figa_core.sandbox.build import Sandbox
from figa_core.training.checkpoints import check_model
from figa_core.training.metrics import read_metrics

from .jobs import model_reward, rl_job

pytestmark = [pytest.mark.trl, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
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
        rows.append(PromptRow(str(len(rows)), ids, messages, {"factor": len(rows)}))
    prompts = directory / "prompts.parquet"
    write_prompts(prompts, [rows])
    usual: dict[str, Any] = {
        "method": name,
        "model": sandbox.base_model,
        "rewards": [model_reward(sandbox)],
        "prompts": prompts,
        "samples_per_prompt": method.samples_per_prompt,
        "kl_weight": method.kl_weight,
        "token_budget": 400,
    }
    return rl_job(directory, **(usual | settings))


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


WATCHED = """
import json, pathlib, sys
from figa_core.rl import task, worker
ours = task.Watcher.on_log
def on_log(self, args, state, control, **rest):
    if "loss" in rest["logs"]:
        with pathlib.Path("logs.jsonl").open("a") as file:
            file.write(json.dumps(rest["logs"]) + chr(10))
    return ours(self, args, state, control, **rest)
task.Watcher.on_log = on_log
sys.exit(worker.main())
"""
PROGRAM = """
import os

def rate(messages, text, factor):
    if len(text) % 7 == 0:
        os._exit(1)
    return factor * text.count("e") / (1 + len(text))

def same(messages, text):
    return 1.0
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProgramReward]:
    """A program of this test as a reward."""
    (tmp_path / "a_program_for_trl.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)

    def reward(name: str, **settings: Any) -> ProgramReward:
        fields = {"name": name, "function": f"a_program_for_trl:{name}", "memory_limit_mib": 512}
        return ProgramReward.model_validate({**fields, "time_limit_s": 30.0, "processes": 2, **settings})

    return reward


@pytest.mark.parametrize(("name", "combined"), [("grpo", False), ("rloo", True)])
def test_trl_learns_from_the_runs_number_and_counts_the_tokens_that_we_count(
    name: str,
    combined: bool,
    program: Callable[..., ProgramReward],
    sandbox: Sandbox,
    tmp_path: Path,
) -> None:
    rewards: list[JobReward] = [program("rate", fields=["factor"], mean=0.1, factor=3.0)]
    if combined:
        rewards.append(model_reward(sandbox, name="helpful", mean=0.5, factor=-0.25))
    job = job_of(name, sandbox, tmp_path, rewards=rewards, max_tokens=24)
    job.write()
    (tmp_path / "watched.py").write_text(WATCHED)
    python = find_python(job.of_method.environment)
    here = json.dumps(asdict(Interpreter.here()))
    subprocess.run(
        [str(python), "watched.py", "--job", str(job.job_path), "--programs", here],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        check=True,
    )
    logs = [json.loads(line) for line in (tmp_path / "logs.jsonl").read_text().splitlines()]
    steps = read_metrics(job.metrics_path)
    assert len(logs) == len(steps) > 1
    for log, step in zip(logs, steps, strict=True):
        assert log["reward"] == pytest.approx(step.figures[REWARD.name], abs=1e-6)
        assert log["completions/mean_length"] * step.pairs == pytest.approx(step.figures[GENERATED])
    assert logs[-1]["num_tokens"] == sum(step.tokens for step in steps)
    generated = sum(int(step.figures[GENERATED] or 0) for step in steps)
    assert json.loads(job.result_path.read_text())["generated_tokens"] == generated
    # Of a sample that a program crashes on, nothing but its own reward is lost.
    samples, unscored = sum(step.pairs for step in steps), sum(step.figures[UNSCORED] or 0 for step in steps)
    assert 0 < unscored < samples / 2
    before, after = (load_file(model / "model.safetensors") for model in (sandbox.base_model, job.model_dir))
    assert any(not before[key].equal(after[key]) for key in before)


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_a_reward_that_is_always_the_same_teaches_nothing_and_that_is_said(
    name: str, program: Callable[..., ProgramReward], sandbox: Sandbox, tmp_path: Path
) -> None:
    job = job_of(name, sandbox, tmp_path, rewards=[program("same")])
    manifest = run_rl(job, log_path=tmp_path / "rl.log")
    steps = read_metrics(job.metrics_path)
    samples = sum(step.pairs for step in steps)
    assert [step.figures[ALIKE] for step in steps] == [step.pairs for step in steps]
    assert {step.grad_norm for step in steps} == {0.0}
    assert (
        f"{samples} of {samples} samples differ in reward from no other" in (tmp_path / "rl.log").read_text()
    )
    check_model(job.output, manifest)
    before, after = (load_file(model / "model.safetensors") for model in (sandbox.base_model, job.model_dir))
    assert all(before[key].equal(after[key]) for key in before)


def test_a_wild_rate_diverges_and_exports_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    job = job_of("grpo", sandbox, tmp_path, learning_rate=1e30)
    with pytest.raises(DivergedTrainingError, match=r"[Nn]othing is exported"):
        run_rl(job, log_path=tmp_path / "rl.log")
    assert not job.model_dir.exists()
