"""A training whose result is an earlier step than its last: the ranks start again, and do the steps up to it.

So the result does not depend on when checkpoints were written, and a training writes no more of them for it.

    OUTPUT/result-step.json              the step of the result, until the training is finished
    OUTPUT/metrics-of-all-steps.jsonl    the steps that were made; metrics.jsonl ends with the result's
"""

import json
from pathlib import Path

from figa_core.errors import TrainingError
from figa_core.files import write_whole
from figa_core.training.alarms import alarm_that_ends, read_alarms
from figa_core.training.held_out import BEFORE, HeldOut, best_of, looks_in, out_of_patience
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import StepMetrics, read_metrics

_RESULT_STEP = "result-step.json"
_ALL_STEPS = "metrics-of-all-steps.jsonl"
_UNTIL_ALARM = "metrics-until-alarm.jsonl"  # its name in earlier releases


def metrics_of_all_steps(training: Path) -> list[StepMetrics]:
    """The steps of the training in this directory, including those that its result does not have."""
    for name in (_ALL_STEPS, _UNTIL_ALARM, "metrics.jsonl"):
        if found := read_metrics(training / name):
            return found
    return []


def goes_back(job: TrainingJob) -> bool:
    """Whether all steps were made, and those of the result are to be repeated."""
    return _read_step(job) is not None or alarm_that_ends(read_alarms(job.output)) is not None


def must_go_back(job: TrainingJob) -> bool:
    """Whether ranks that ended without a result have made all steps, and the result is an earlier one."""
    if goes_back(job):
        return True
    if job.training.held_out.result == "last":
        return False
    metrics = read_metrics(job.metrics_path)
    made_all = bool(metrics) and metrics[-1].step == job.steps
    return made_all or out_of_patience(looks_in(metrics), job.training.held_out.patience)


def begin_going_back(job: TrainingJob) -> None:
    """Settle the step of the result, and keep the metrics of all steps.

    With `training.held_out.result = "best"` it is the step with the lowest loss on held-out pairs, of those
    up to the last good one if an alarm ended the training.
    """
    if _read_step(job) is not None:
        return
    metrics = read_metrics(job.metrics_path)
    write_whole(job.output / _ALL_STEPS, job.metrics_path.read_bytes())
    step = steps_to_do(job)
    if job.training.held_out.result == "best":
        best = best_of(look for look in looks_in(metrics) if look.step <= step)
        step = best.step if best else step
    write_whole(job.output / _RESULT_STEP, json.dumps({"step": step}).encode())


def steps_to_do(job: TrainingJob) -> int:
    """The step of the result: the last of the job, unless the training goes back to an earlier one.

    Raises:
        TrainingError: the record of it, or of the alarms, is damaged.
    """
    if (step := _read_step(job)) is not None:
        return step
    alarm = alarm_that_ends(read_alarms(job.output))
    return alarm.good_step if alarm else job.steps


def held_out_record(job: TrainingJob, pairs: int) -> HeldOut | None:
    """What the held-out pairs said, for the manifest of a training that ends; None if no loss is known."""
    went_back = _read_step(job) is not None
    metrics = metrics_of_all_steps(job.output) if went_back else read_metrics(job.metrics_path)
    looks = looks_in(metrics)
    best = best_of(looks)
    if best is None:
        return None
    return HeldOut(
        pairs=pairs,
        before=metrics[0].figures.get(BEFORE),
        looks=len(looks),
        best_step=best.step,
        best_loss=best.loss,
        patience_ended=out_of_patience(looks, job.training.held_out.patience),
    )


def forget_going_back(output: Path) -> None:
    """Remove the record of a training that is finished."""
    (output / _RESULT_STEP).unlink(missing_ok=True)


def _read_step(job: TrainingJob) -> int | None:
    path = job.output / _RESULT_STEP
    try:
        return int(json.loads(path.read_bytes())["step"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{path}: damaged ({error}). Remove {job.output} and train again.") from error
