"""Starts a training by reinforcement learning in TRL's environment and follows it. It imports no torch."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from textwrap import indent
from typing import Any

from figa_core.errors import ConfigError, DivergedTrainingError, EngineError, TrainingError
from figa_core.file_hashes import hashes_of, write_sealed
from figa_core.models.check import problems_to_load
from figa_core.models.role import ModelRole
from figa_core.processes import interruption
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed
from figa_core.rewards.source import source_hash
from figa_core.rewards.worker import Interpreter
from figa_core.rl.environments import find_python, why_missing
from figa_core.rl.job import GENERATED, RlJob
from figa_core.rl.job_rewards import ProgramReward
from figa_core.training import checkpoints
from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.directory_lock import locked
from figa_core.training.failures import clear_failures, root_failure
from figa_core.training.metrics import read_from

_LOGGER = logging.getLogger("figa_core.rl")
_POLL_S = 0.2


def run_rl(
    job: RlJob, *, on_tokens: Callable[[int], None] = lambda _: None, log_path: Path
) -> TrainingManifest:
    """Train, and block until that is done; a finished training is returned as it is, with the same figures.

    A training that was stopped begins anew: TRL's trainers do not keep what their samples were. `on_tokens`
    gets the tokens generated so far, after each step. The worker's output is appended to `log_path`, and it
    dies with this process.

    Raises:
        TrainingError: TRL's environment is missing, the models are incomplete, a program is another here, or
            the training stopped; the message has the cause.
        DivergedTrainingError: its figures are not finite; it would end so again.
        InterruptedRunError: somebody asked to stop.
    """
    with locked(job.output, f"training {job.training_id}"):
        if (finished := checkpoints.read_manifest(job.output)) is None:
            _check_rewards_and_model(job)
            _run(job, _python(job), on_tokens, log_path)
            return _finished(job)
        checkpoints.check_model(job.output, finished)
        return finished


def _python(job: RlJob) -> Path:
    environment = job.of_method.environment
    try:
        if (python := find_python(environment)) is not None:
            return python
    except EngineError as error:
        raise TrainingError(str(error)) from error
    raise TrainingError(f"{job.of_method.label} cannot run here: {why_missing(environment)}.")


def _check_rewards_and_model(job: RlJob) -> None:
    problems = [*problems_to_load(job.model, ModelRole.POLICY)]
    for reward in job.reward_models:
        problems += problems_to_load(reward.model, ModelRole.REWARD)
    problems += filter(None, map(_program_problem, job.programs))
    if problems:
        raise TrainingError("\n".join(problems))


def _program_problem(reward: ProgramReward) -> str | None:
    """Why a program cannot rate samples here: its values must be those of the run."""
    try:
        here = source_hash(reward.function)
    except ConfigError as error:
        return str(error)
    if reward.source in (None, here):
        return None
    return (
        f"the reward program {reward.function!r}: its file, or a module beside it that it imports, is not "
        "the one that rated the run's responses. Give this machine that one, or run `figa compare` again."
    )


def _run(job: RlJob, python: Path, on_tokens: Callable[[int], None], log_path: Path) -> None:
    job_path = job.write()
    clear_failures(job.output)
    for path in (job.metrics_path, job.result_path):
        path.unlink(missing_ok=True)
    _LOGGER.info("training %s starts; full log: %s", job.training_id, log_path)
    command = [str(python), "-m", "figa_core.rl.worker", "--job", str(job_path)]
    if job.programs:
        command += ["--programs", json.dumps(asdict(Interpreter.here()))]
    follow = _Tokens(job, on_tokens)
    with followed(log_path, _LOGGER), interruption.doing("the training stops"):
        try:
            child = Child(command, log_path, environment=_environment())
        except OSError as error:
            raise TrainingError(f"{python}: cannot start the training: {error.strerror or error}.") from error
        try:
            child.wait_until(follow.read, poll_s=_POLL_S)
        finally:
            child.kill()
    if child.exit_code != 0 or not job.result_path.is_file():
        raise _error(job, log_path, f"the worker ended with code {child.exit_code}", child)


def _environment() -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return child_environment(TOKENIZERS_PARALLELISM="false", TRL_EXPERIMENTAL_SILENCE="1", **offline)


class _Tokens:
    """Adds up the generated tokens of new lines in the metrics."""

    def __init__(self, job: RlJob, on_tokens: Callable[[int], None]) -> None:
        self._path, self._on_tokens = job.metrics_path, on_tokens
        self._offset, self._generated = 0, 0

    def read(self) -> bool:
        """Report what is new; never done, for `Child.wait_until`."""
        steps, self._offset = read_from(self._path, self._offset)
        if steps:
            self._generated += sum(int(step.figures.get(GENERATED) or 0) for step in steps)
            self._on_tokens(self._generated)
        return False


def _finished(job: RlJob) -> TrainingManifest:
    result: dict[str, Any] = json.loads(job.result_path.read_text(encoding="utf-8"))
    manifest = TrainingManifest(
        training_id=job.training_id,
        steps=result["steps"],
        skipped_steps=0,
        wall_seconds=result["seconds"],
        peak_rss_bytes=result["peak_rss_bytes"],
        versions=result["versions"],
        planned_steps=result["steps"],
        files=hashes_of(job.model_dir),
    )
    write_sealed(
        job.output / checkpoints.MANIFEST_NAME, {**asdict(manifest), "job": job.model_dump(mode="json")}
    )
    return manifest


def _error(job: RlJob, log_path: Path, otherwise: str, child: Child) -> TrainingError:
    start = f"training {job.training_id} ({job.of_method.label}) stopped"
    failure = root_failure(job.output)
    if failure is not None:
        kind = DivergedTrainingError if failure.diverged else TrainingError
        ours = failure.kind in (TrainingError.__name__, DivergedTrainingError.__name__)
        what = failure.message if ours else f"{failure.kind}: {failure.message}"
        return kind(f"{start}: {what}\nFull log: {log_path}")
    return TrainingError(
        f"{start}: {otherwise}. A process that is killed without a message is often out of memory. Last "
        f"lines of {log_path}:\n{indent(child.log_tail(), '  ')}"
    )
