"""Starts a training and follows it, for the train stage. This module imports no torch.

If the run is asked to stop (by `processes.interruption`, or by any exception while it waits), the ranks are
asked too. They finish the current step, write a checkpoint and end; ranks that take too long are killed.
"""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from figa_core.chat.format import load_chat_format
from figa_core.errors import DivergedTrainingError, TrainingError
from figa_core.models.check import problems_to_load
from figa_core.models.role import ModelRole
from figa_core.processes import interruption
from figa_core.processes.child import Child
from figa_core.processes.log import followed
from figa_core.shards.manifest import BEST, read_manifest
from figa_core.shards.read import has_column
from figa_core.training import checkpoints, stop
from figa_core.training.alarms import Alarm, alarm_that_ends, read_alarms
from figa_core.training.bitsandbytes_adam import not_installed, offloaded_to_disk
from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.cpu_adam import no_compiler, not_offloaded
from figa_core.training.device_memory import devices_here
from figa_core.training.directory_lock import locked
from figa_core.training.failures import clear_failures
from figa_core.training.going_back import begin_going_back, goes_back, must_go_back
from figa_core.training.job import TrainingJob
from figa_core.training.memory_report import TrainingMemory
from figa_core.training.metrics import StepMetrics, keep_until
from figa_core.training.nodes.board import NAME, Board, OtherNodes, next_meeting
from figa_core.training.objectives.registry import make_objective
from figa_core.training.offload import impossible
from figa_core.training.other_dtype import begun_in_other_dtype
from figa_core.training.quantized import cannot_quantize
from figa_core.training.ranks import Ranks, failure_of
from figa_core.training.reference_process import rank_environment, run_log_probs
from figa_core.training.room import room_for
from figa_core.training.top_tokens import TOP_TOKENS
from figa_core.training.weighted_tokens import most_weighted_tokens

StepCallback = Callable[[StepMetrics], None]
AlarmCallback = Callable[[Alarm], None]

_LOGGER = logging.getLogger("figa_core.training")


def ignore_alarm(_alarm: Alarm) -> None:
    """An `AlarmCallback` that does nothing."""


def run_training(
    job: TrainingJob,
    *,
    on_step: StepCallback = lambda _: None,
    on_alarm: AlarmCallback = ignore_alarm,
    log_path: Path,
    others: OtherNodes | None = None,
) -> TrainingManifest:
    """Train or resume, and block until the training is finished; if it already is, return its manifest.

    The ranks' output is appended to `log_path`; messages in it for people are logged. `on_step` gets every
    step once, including those before a resumption, and `on_alarm` every new alarm. The ranks die with this
    process. If another process runs the same training, this one waits for it and returns its result.

    If the training has several nodes, this one is the first. It calls the `others` on their board, by default
    the file nodes.json beside the training's directory, each time its ranks start, and waits for them.

    If an alarm ends the training, or an earlier step is the best on held-out pairs, the ranks start once more
    and repeat the steps from the last checkpoint up to that step. So the result does not depend on when
    checkpoints were written.

    Raises:
        TrainingError: the model is incomplete, the shards do not fit it, or the training stopped, such as by
            an alarm when it had no good step yet; the message has the cause.
        InterruptedRunError: somebody asked to stop; the same job continues from its last checkpoint.
    """
    with locked(job.output, f"training {job.training_id}"):
        finished = checkpoints.read_manifest(job.output)
        if finished is not None:
            if finished.training_id != job.training_id:
                raise TrainingError(
                    f"{job.output}: holds training {finished.training_id}, not {job.training_id}. "
                    "Give another directory."
                )
            checkpoints.check_model(job.output, finished)
        else:
            _check_inputs(job)
            _write_job(job)  # before it waits: `figa clean` reads in it what the training needs
            _run_reference(job, log_path)
            others = others or OtherNodes(Board(job.output.with_name(NAME)))
            _run_to_end(job, _Reports(job, on_step, on_alarm), log_path, others)
            finished = checkpoints.read_manifest(job.output)
    if finished is None:
        if reason := stop.reason(job.output):
            raise TrainingError(
                f"training {job.training_id} stopped with a checkpoint: {reason}. Run it again to continue."
            )
        raise failure_of(job, log_path, "the ranks ended without a result")
    return finished


def _check_inputs(job: TrainingJob) -> None:
    """Refuse an incomplete model, and shards of another tokenizer or chat template."""
    if problems := problems_to_load(job.model, ModelRole.POLICY):
        raise TrainingError("\n".join(problems))
    for lacks in (impossible, not_offloaded, no_compiler, not_installed, offloaded_to_disk):
        if problem := lacks(job.training):
            raise TrainingError(problem)
    room = room_for(job, free=shutil.disk_usage(job.output.parent).free)
    if not room.enough:
        raise TrainingError(room.text)
    _LOGGER.log(
        logging.WARNING if room.tight else logging.INFO, "training %s: %s", job.training_id, room.text
    )
    manifest = read_manifest(job.shards)
    if manifest is None:
        raise TrainingError(f"{job.shards}: no complete shard set here. Run the weigh stage first.")
    _check_memory(job, manifest.max_length)
    if "best" in make_objective(job.loss).answers and not has_column(job.shards, BEST):
        raise TrainingError(
            f"{job.shards}: {job.objective} trains on the best of each prompt's samples, and this shard set "
            "holds none. A run that names it in loss.objective or evaluation.baselines writes one that does."
        )
    chat = load_chat_format(job.model)
    for what, ours, theirs in (
        ("tokenizer", chat.tokenizer_hash, manifest.tokenizer_hash),
        ("chat template", chat.template_hash, manifest.template_hash),
    ):
        if ours != theirs:
            raise TrainingError(
                f"{job.shards}: its token ids were made with another {what} than {job.model} has "
                f"({theirs[:12]}, not {ours[:12]}). Weigh again with this model."
            )


def _check_memory(job: TrainingJob, max_length: int) -> None:
    """Refuse a model that the devices here cannot hold."""
    devices = devices_here()
    if lacking := cannot_quantize(job.training, devices):
        raise TrainingError(lacking)
    plan = partial(TrainingMemory, job.training, job.model, devices, max_length=max_length)
    memory = plan()
    if problem := memory.problem():
        raise TrainingError(f"{job.model}: {problem}")
    if memory.warning():
        memory = plan(weighted_tokens=most_weighted_tokens(job))
    if warning := memory.warning():
        _LOGGER.warning("%s", warning)


def _run_reference(job: TrainingJob, log_path: Path) -> None:
    """Make the log-probabilities that the objective needs, unless they exist."""
    if job.reference_log_probs is not None:
        objective = make_objective(job.loss)
        run_log_probs(
            job.model,
            job.shards,
            job.reference_log_probs,
            objective.reference_answers,
            tokens_per_batch=job.training.tokens_per_batch,
            top_tokens=TOP_TOKENS if objective.held_to_base else 0,
            share_prefixes=job.training.prefix_sharing is not False,
            log_path=log_path,
        )


def _run_to_end(job: TrainingJob, reports: "_Reports", log_path: Path, others: OtherNodes) -> None:
    if not goes_back(job):
        _run(job, reports, log_path, others)
    if checkpoints.read_manifest(job.output) is not None or not must_go_back(job):
        return
    alarm = alarm_that_ends(read_alarms(job.output))
    if alarm is not None and alarm.good_step == 0:
        raise DivergedTrainingError(
            f"training {job.training_id}: {alarm.text}. {alarm.lesson} "
            f"Remove {job.output} to train again with the same settings. Full log: {log_path}"
        )
    begin_going_back(job)
    _run(job, reports, log_path, others)


def _write_job(job: TrainingJob) -> Path:
    job.output.mkdir(parents=True, exist_ok=True)
    path = job.output / "job.json"
    path.write_text(job.model_dump_json(indent=2), encoding="utf-8")
    return path


def _run(job: TrainingJob, reports: "_Reports", log_path: Path, others: OtherNodes) -> None:
    clear_failures(job.output)
    stop.forget(job.output)
    checkpoints.check_own(job)
    checkpoints.remove_unfinished(job)
    for damage in checkpoints.remove_damaged(job):
        _LOGGER.warning("%s", damage)
    resumed = checkpoints.last_whole(job)
    done = resumed.step if resumed else 0
    if resumed is None and (other := begun_in_other_dtype(job)):
        _LOGGER.warning("training %s begins anew. %s", job.training_id, other)
    keep_until(job.metrics_path, done)
    job_path = _write_job(job)
    _LOGGER.info("training %s starts; full log: %s", job.training_id, log_path)
    stopping = interruption.doing("the training finishes its step and writes a checkpoint")
    called = _called(job, job_path, others.board)
    with followed(log_path, _LOGGER), stopping, interruption.cooperating(), called as meeting:
        command = [sys.executable, "-m", "figa_core.training.launcher", "--job", str(job_path), *meeting]
        launcher = Child(command, log_path, environment=rank_environment())
        ranks = Ranks(job, launcher, reports, done_before=done, problem=others.problem)
        try:
            code = ranks.follow()
        finally:
            ranks.end()
    interruption.check()
    if code != 0:
        checkpoints.remove_unfinished(job)  # it may be what fills the disk
        raise failure_of(job, log_path, f"the launcher ended with code {code}", others.problem())


@contextmanager
def _called(job: TrainingJob, job_path: Path, board: Board) -> Iterator[Sequence[str]]:
    """Call the other nodes, if there are any, until the ranks end; yields the launcher's arguments."""
    if job.training.nodes == 1:
        yield ()
        return
    meeting = next_meeting(job, job_path)
    board.call(meeting)
    _LOGGER.info(
        "training %s: this machine is node 0 and waits for %d more at %s, which %s calls: `figa join` there",
        job.training_id,
        meeting.nodes - 1,
        meeting.address,
        board.path,
    )
    try:
        yield ("--meet", meeting.address, "--attempt", meeting.attempt)
    finally:
        board.clear()


class _Reports:
    """Hands every step and every new alarm of a training to its callbacks once."""

    def __init__(self, job: TrainingJob, on_step: StepCallback, on_alarm: AlarmCallback) -> None:
        self._output, self._on_step, self._on_alarm = job.output, on_step, on_alarm
        self._last_step, self._alarms = 0, len(read_alarms(job.output))

    def step(self, metrics: StepMetrics) -> None:
        if metrics.step > self._last_step:
            self._last_step = metrics.step
            self._on_step(metrics)

    def alarms(self) -> None:
        """Look for new alarms."""
        found = read_alarms(self._output)
        for alarm in found[self._alarms :]:
            self._on_alarm(alarm)
        self._alarms = max(self._alarms, len(found))
