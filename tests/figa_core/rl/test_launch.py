"""A training as the run sees it: its worker is a program of this test, in place of TRL's environment."""

import json
import sys
from pathlib import Path

import psutil
import pytest

from figa_core.errors import DivergedTrainingError, TrainingError
from figa_core.rewards.source import source_hash
from figa_core.rewards.worker import Interpreter
from figa_core.rl.environments import OF_TRL
from figa_core.rl.job import GENERATED, RlJob
from figa_core.rl.job_rewards import JobReward, ModelReward, ProgramReward
from figa_core.rl.launch import run_rl
from figa_core.rl.worker import interpreter_of
from figa_core.sandbox.build import Sandbox
from figa_core.training.checkpoints import read_manifest
from figa_core.training.failures import root_failure

from .jobs import model_reward, rl_job

WORKER = """#!{python}
import json, pathlib, sys
if "-c" in sys.argv:
    print("release 1.16.0")
    sys.exit()
job = json.loads(pathlib.Path(sys.argv[sys.argv.index("--job") + 1]).read_text())
output = pathlib.Path(job["output"])
def step(number, generated):
    line = dict(step=number, loss=0.1, counted=8, tokens=100, pairs=8, seconds=1.0, learning_rate=1e-4,
                grad_norm=None, generated_tokens=generated)
    with (output / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\\n")
{body}
"""
FINISHES = """
step(1, 40)
step(2, 60)
(output / "model").mkdir()
(output / "model" / "config.json").write_text("{}")
result = dict(steps=2, generated_tokens=100, seconds=3.5, peak_rss_bytes=7, versions={"trl": "1.16.0"})
(output / "worker.json").write_text(json.dumps(result))
with (output.parent / "starts").open("a") as file:
    file.write("x")
"""
FAILS = """
fields = dict(rank=0, kind={kind!r}, message="step 3: not a finite number: loss.", secondary=False)
(output / "failure-rank0.json").write_text(json.dumps(fields))
sys.exit(1)
"""


@pytest.fixture
def job(tmp_path: Path, sandbox: Sandbox) -> RlJob:
    return rl_job(tmp_path, model=sandbox.base_model, rewards=[model_reward(sandbox)])


def program_reward(function: str, source: str | None = None) -> ProgramReward:
    limits = {"time_limit_s": 1.0, "memory_limit_mib": 512}
    return ProgramReward.model_validate({"name": "right", "function": function, "source": source, **limits})


def with_rewards(job: RlJob, *rewards: JobReward) -> RlJob:
    return job.model_copy(update={"rewards": rewards})


def use_worker(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A new name each time: what an interpreter has is looked up once.
    path = tmp_path / f"python-{len(list(tmp_path.iterdir()))}"
    path.write_text(WORKER.replace("{python}", sys.executable).replace("{body}", body))
    path.chmod(0o755)
    monkeypatch.setenv(OF_TRL.variable, str(path))


def test_a_training_is_followed_and_done_once(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(FINISHES, tmp_path, monkeypatch)
    tokens: list[int] = []
    manifest = run_rl(job, on_tokens=tokens.append, log_path=tmp_path / "rl.log")
    assert tokens[-1] == 100
    assert (manifest.training_id, manifest.steps, manifest.wall_seconds) == (job.training_id, 2, 3.5)
    assert manifest.versions == {"trl": "1.16.0"}
    assert read_manifest(job.output) == manifest
    assert list(manifest.files) == ["config.json"]
    assert run_rl(job, log_path=tmp_path / "rl.log") == manifest
    assert (job.output.parent / "starts").read_text() == "x"


def test_a_training_that_was_stopped_begins_anew(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.output.mkdir(parents=True)
    job.metrics_path.write_text(json.dumps({"step": 1, GENERATED: 10_000}) + "\n")
    job.result_path.write_text("{}")
    use_worker(FINISHES, tmp_path, monkeypatch)
    tokens: list[int] = []
    run_rl(job, on_tokens=tokens.append, log_path=tmp_path / "rl.log")
    assert tokens[-1] == 100


def test_a_training_that_diverged_says_so_and_has_no_result(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(FAILS.replace("{kind!r}", "'DivergedTrainingError'"), tmp_path, monkeypatch)
    with pytest.raises(DivergedTrainingError, match=r"\(GRPO\) stopped: step 3: not a finite number: loss"):
        run_rl(job, log_path=tmp_path / "rl.log")
    assert read_manifest(job.output) is None
    failure = root_failure(job.output)
    assert failure is not None
    assert failure.diverged


def test_another_error_is_named_with_its_kind(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(FAILS.replace("{kind!r}", "'KeyError'"), tmp_path, monkeypatch)
    with pytest.raises(TrainingError, match=r"stopped: KeyError: step 3") as caught:
        run_rl(job, log_path=tmp_path / "rl.log")
    assert not isinstance(caught.value, DivergedTrainingError)


@pytest.mark.parametrize("body", ["print('last words'); sys.exit(9)", "print('last words')"])
def test_a_worker_without_a_result_or_a_reason_is_shown_with_its_last_lines(
    body: str, job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(body, tmp_path, monkeypatch)
    with pytest.raises(
        TrainingError, match=r"ended with code [09]\. A process that is killed .*\n  last words"
    ):
        run_rl(job, log_path=tmp_path / "rl.log")


def test_without_the_environment_nothing_starts(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(OF_TRL.variable, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        TrainingError, match=r"GRPO cannot run here: TRL's environment is missing .* `make rl`"
    ):
        run_rl(job, log_path=tmp_path / "rl.log")
    assert not job.output.exists()


def test_an_incomplete_model_is_refused_before_anything_starts(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(FINISHES, tmp_path, monkeypatch)
    with pytest.raises(TrainingError, match="nowhere"):
        run_rl(job.model_copy(update={"model": tmp_path / "nowhere"}), log_path=tmp_path / "rl.log")
    with pytest.raises(TrainingError, match="nowhere"):
        run_rl(
            with_rewards(job, ModelReward(name="r", model=tmp_path / "nowhere", max_length=64)),
            log_path=tmp_path / "rl.log",
        )
    assert not job.output.exists()


def test_a_program_is_the_one_that_rated_the_run_or_nothing_starts(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_worker(FINISHES, tmp_path, monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "a_program_of_this_launch.py"
    file.write_text("def rate(messages, text): return 1.0")
    function = "a_program_of_this_launch:rate"
    of_run = program_reward(function, source=source_hash(function))
    file.write_text("def rate(messages, text): return 2.0")
    missing = program_reward("there_is_no_such_module:rate")
    with pytest.raises(TrainingError, match=r"is not the one that rated the run's responses") as caught:
        run_rl(with_rewards(job, of_run, missing), log_path=tmp_path / "rl.log")
    assert "there is no module 'there_is_no_such_module'" in str(caught.value)
    assert not job.output.exists()


def test_the_worker_is_told_which_python_runs_programs(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "(output / 'said').write_text(sys.argv[sys.argv.index('--programs') + 1])"
    use_worker(FINISHES + said, tmp_path, monkeypatch)
    function = "figa_core.rewards.examples:is_brief"
    with_program = with_rewards(job, program_reward(function, source=source_hash(function)))
    run_rl(with_program, log_path=tmp_path / "rl.log")
    assert interpreter_of((job.output / "said").read_text()) == Interpreter.here()


def test_a_run_that_is_stopped_leaves_no_worker_behind(
    job: RlJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import os, time\n(output / 'pid').write_text(str(os.getpid()))\nstep(1, 40)\ntime.sleep(600)"
    use_worker(body, tmp_path, monkeypatch)

    def stop(_tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_rl(job, on_tokens=stop, log_path=tmp_path / "rl.log")
    assert not psutil.pid_exists(int((job.output / "pid").read_text()))
    assert read_manifest(job.output) is None
