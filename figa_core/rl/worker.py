"""Runs in TRL's environment: trains a model on rewards of its own samples, and writes it.

`launch` starts it as ``python -m figa_core.rl.worker --job OUTPUT/job.json``. It imports TRL, and `figa_core`
modules that need no more than torch, transformers, pyarrow and pydantic.
"""

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from figa_core.errors import DivergedTrainingError, TrainingError, one_line
from figa_core.processes.children import die_with_parent
from figa_core.processes.memory import peak_rss_bytes
from figa_core.processes.tell import tell, tell_troubles
from figa_core.rewards.worker import Interpreter
from figa_core.rl.job import RlJob
from figa_core.training.failures import record_failure

_VERSIONED = ("trl", "torch", "transformers")


def main() -> int:
    """Train; returns 0 if done, 1 after an error, which is in the output directory."""
    die_with_parent()
    tell_troubles()
    parser = argparse.ArgumentParser(prog="figa_core.rl.worker")
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--programs", help="the Python of reward programs, and its path, as JSON")
    options = parser.parse_args()
    job = RlJob.read(options.job)
    begun = time.perf_counter()
    try:
        steps, generated = _train(job, interpreter_of(options.programs))
    except Exception as error:
        record_failure(job.output, 0, error, secondary=False)
        raise
    result = {
        "steps": steps,
        "generated_tokens": generated,
        "seconds": round(time.perf_counter() - begun, 2),
        "peak_rss_bytes": peak_rss_bytes(),
        "versions": {name: version(name) for name in _VERSIONED},
    }
    job.result_path.write_text(json.dumps(result), encoding="utf-8")
    tell(f"{job.of_method.label}: {steps:,} steps, {generated:,} tokens generated of {job.token_budget:,}")
    return 0


def _train(job: RlJob, interpreter: Interpreter | None) -> tuple[int, int]:
    """Returns the optimizer steps and the generated tokens."""
    from figa_core.rl.prompts_file import read_prompts
    from figa_core.rl.rewards import Rewards
    from figa_core.rl.step_log import StepLog
    from figa_core.rl.task import Task, load_policy
    from figa_core.rl.trainers import train
    from figa_core.training.export import export_model

    rewards = Rewards(
        job.model,
        job.rewards,
        tokens_per_batch=job.tokens_per_batch,
        logs=job.output,
        variables=job.template_variables,
        stop=job.stop,
        interpreter=interpreter,
    )
    log = StepLog(job, rewards)
    policy = load_policy(job)
    config = policy.config.to_dict()
    tell(
        f"{job.of_method.label}: {policy.num_parameters():,} parameters in {job.dtype}, about {job.steps:,} "
        f"steps of {job.samples_per_step} samples, {job.token_budget:,} tokens to generate"
    )
    task = Task(job, policy, read_prompts(job.prompts), rewards, log)
    try:
        with rewards:
            train(task)
    except Exception as error:
        raise _diverged(error, policy, log.steps) or error from error
    _tell_of(rewards, log)
    policy.config = type(policy.config).from_dict(config)  # trainers put a padding token into it
    export_model(policy, policy.state_dict().__getitem__, job)
    return log.steps, log.generated


def interpreter_of(text: str | None) -> Interpreter | None:
    """What `launch` says of the Python of programs; None if it says nothing."""
    if text is None:
        return None
    found = json.loads(text)
    return Interpreter(found["python"], tuple(found["path"]))


def _tell_of(rewards: Any, log: Any) -> None:
    """What of the samples taught nothing. Raises TrainingError if none has a reward."""
    if rewards.mean is None:
        raise TrainingError(f"none of the {log.samples:,} samples has a reward: {rewards.why_unscored()}.")
    if rewards.unscored:
        tell(f"{rewards.unscored:,} of {log.samples:,} samples have no reward: {rewards.why_unscored()}")
    if log.alike:
        tell(f"{log.alike:,} of {log.samples:,} samples differ in reward from no other of their prompt")


def _diverged(error: Exception, policy: Any, steps: int) -> DivergedTrainingError | None:
    """The error of a model whose weights are no numbers: sampling from it fails in other words."""
    import torch

    if isinstance(error, DivergedTrainingError) or all(
        bool(torch.isfinite(p).all()) for p in policy.parameters()
    ):
        return None
    return DivergedTrainingError(
        f"after step {steps} the weights are not finite numbers, so nothing is exported. Lower the learning "
        f"rate, or raise kl_weight. ({one_line(error)})"
    )


if __name__ == "__main__":
    sys.exit(main())
