"""Start a training and follow it: what the train stage calls. This module imports no torch.

Where the run is asked to stop (`processes.interruption`, or any exception while this waits), the ranks are
asked to, finish the step under way, write a checkpoint and end; those that take too long are killed.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from filelock import FileLock, Timeout

from figa_core.chat.format import load_chat_format
from figa_core.errors import TrainingError
from figa_core.files import last_lines
from figa_core.models.check import examine
from figa_core.models.role import ModelRole
from figa_core.processes import interruption
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed
from figa_core.shards.manifest import read_manifest
from figa_core.training import checkpoints, reference_log_probs, stop
from figa_core.training.failures import clear_failures, root_failure
from figa_core.training.job import TrainingJob
from figa_core.training.metrics import StepMetrics, from_line, keep_until
from figa_core.training.objectives.registry import objective_named

StepCallback = Callable[[StepMetrics], None]

_LOGGER = logging.getLogger("figa_core.training")
_POLL_S = 0.1
_LOCK_POLL_S = 0.5
_LOG_LINES = 8
# What a stopping training gets for its checkpoint, besides its steps; a second signal ends it at once.
_GRACE_S = 60.0
_GRACE_STEPS = 2


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished training; its counts, `wall_seconds` and `peak_rss_bytes` as in
    `checkpoints.TrainingManifest`.
    """

    training_id: str
    model_dir: Path
    steps: int
    skipped_steps: int
    wall_seconds: float
    peak_rss_bytes: int
    metrics_path: Path
    overflowed_steps: int = 0


def run_training(job: TrainingJob, *, on_step: StepCallback | None = None, log_path: Path) -> TrainingResult:
    """Train, or resume, or return what a finished training left; blocks until it is done.

    The ranks' output is appended to `log_path`, and what in it is for people is logged. `on_step` gets every
    step once, those done before a resumption included. The ranks die with this process. Where another process
    runs the same training, this one waits and takes its result.

    Raises:
        TrainingError: the model is not whole, the shards do not fit it, or the training stopped; the message
            holds the cause.
        InterruptedRunError: somebody asked to stop; the same job goes on from its last checkpoint.
    """
    with _only_one(job.output, f"training {job.training_id}"):
        finished = checkpoints.read_manifest(job.output)
        if finished is not None:
            _check_finished(job, finished)
        else:
            check_model(job)
            check_shards(job)
            _ask_reference(job, log_path)
            _run(job, on_step or (lambda _: None), log_path)
            finished = checkpoints.read_manifest(job.output)
    if finished is None:
        raise _error(job, log_path, "the ranks ended without a result")
    return TrainingResult(
        training_id=finished.training_id,
        model_dir=job.model_dir,
        steps=finished.steps,
        skipped_steps=finished.skipped_steps,
        wall_seconds=finished.wall_seconds,
        peak_rss_bytes=finished.peak_rss_bytes,
        metrics_path=job.metrics_path,
        overflowed_steps=finished.overflowed_steps,
    )


def _check_finished(job: TrainingJob, finished: checkpoints.TrainingManifest) -> None:
    if finished.training_id != job.training_id:
        raise TrainingError(
            f"{job.output}: holds training {finished.training_id}, not {job.training_id}. "
            "Give another directory."
        )
    checkpoints.check_model(job.output, finished)


@contextlib.contextmanager
def _only_one(output: Path, work: str) -> Iterator[None]:
    """Hold an output directory; its lock ends with its process, however that ends."""
    output.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output.with_name(f"{output.name}.lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOGGER.info("%s: another process is at it; waiting for its result", work)
        _wait_for(lock)
    try:
        yield
    finally:
        lock.release()


def _wait_for(lock: FileLock) -> None:
    while True:
        interruption.check()
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=_LOCK_POLL_S)
            return


def check_model(job: TrainingJob) -> None:
    """Refuse, before anything is started, a model that is not whole.

    Raises:
        TrainingError: with everything that is wrong with it.
    """
    if problems := examine(job.model, ModelRole.POLICY).problems:
        raise TrainingError("\n".join(problems))


def check_shards(job: TrainingJob) -> None:
    """Refuse, before anything is started, shards of another tokenizer or chat template.

    Raises:
        TrainingError: they differ, or the shard set is incomplete.
    """
    manifest = read_manifest(job.shards)
    if manifest is None:
        raise TrainingError(f"{job.shards}: no complete shard set here. Run the weigh stage first.")
    chat = load_chat_format(job.model)
    for what, ours, theirs in (
        ("tokenizer", chat.tokenizer_hash, manifest.tokenizer_hash),
        ("chat template", chat.template_hash, manifest.template_hash),
    ):
        if ours != theirs:
            raise TrainingError(
                f"{job.shards}: its token ids were made with another {what} than that of {job.model} "
                f"({theirs[:12]}, not {ours[:12]}). Weigh again with this model."
            )


def _ask_reference(job: TrainingJob, log_path: Path) -> None:
    """Make the log-probabilities that the objective needs, unless they are there (`reference_pass.py`)."""
    output = job.reference_log_probs
    if output is None:
        return
    with _only_one(output, f"log-probabilities {output.name}"):
        if reference_log_probs.read_manifest(output) is not None:
            return
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.touch()
        paths = ("--model", str(job.model), "--shards", str(job.shards), "--output", str(output))
        answers = ("--answers", *objective_named(job.objective).answers)
        budget = ("--tokens-per-batch", str(job.training.tokens_per_batch))
        with followed(log_path, _LOGGER), interruption.doing("the reference model stops"):
            command = [sys.executable, "-m", "figa_core.training.reference_pass", *paths, *answers, *budget]
            child = Child(command, log_path, environment=_environment())
            try:
                child.wait_until(lambda: False)
            finally:
                child.kill()
    if child.exit_code != 0:
        raise TrainingError(
            f"{output}: no log-probabilities of the reference model. Last lines of {log_path}:\n"
            f"{indent(child.log_tail(), '  ')}"
        )


def _environment() -> dict[str, str]:
    return child_environment(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")


def _run(job: TrainingJob, on_step: StepCallback, log_path: Path) -> None:
    job.output.mkdir(parents=True, exist_ok=True)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    clear_failures(job.output)
    stop.forget(job.output)
    checkpoints.remove_unfinished(job)
    for damage in checkpoints.remove_damaged(job):
        _LOGGER.warning("%s", damage)
    resumed = checkpoints.last_whole(job)
    keep_until(job.metrics_path, resumed.step if resumed else 0)
    job_path = job.output / "job.json"
    job_path.write_text(job.to_json(), encoding="utf-8")
    _LOGGER.info("training %s starts; full log: %s", job.training_id, log_path)
    log_path.touch()
    with (
        followed(log_path, _LOGGER),
        interruption.doing("the training finishes its step and writes a checkpoint"),
        interruption.cooperating(),
    ):
        launcher = Child(
            [sys.executable, "-m", "figa_core.training.launcher", "--job", str(job_path)],
            log_path,
            environment=_environment(),
        )
        ranks = _Ranks(job, launcher, done_before=resumed.step if resumed else 0)
        try:
            code = ranks.follow(on_step)
        finally:
            ranks.end()
    interruption.check()
    if code != 0:
        checkpoints.remove_unfinished(job)  # it may be what fills the disk
        raise _error(job, log_path, f"the launcher ended with code {code}")


class _Ranks:
    """The running ranks of a training, seen through their launcher and their metrics."""

    def __init__(self, job: TrainingJob, launcher: Child, *, done_before: int) -> None:
        self._job, self._launcher, self._done_before = job, launcher, done_before
        self._offset = self._last_step = 0
        self._slowest_s = 0.0
        self._kill_at: float | None = None

    def follow(self, on_step: StepCallback) -> int:
        """Report steps until the process ends; its exit code."""
        while True:
            code = self._launcher.exit_code
            for metrics in self._new_steps():
                on_step(metrics)
            if code is not None:
                return code
            if interruption.requested():
                self._stop()
            time.sleep(_POLL_S)

    def end(self) -> None:
        """Stop what still runs, as an exception in the midst of `follow` leaves it."""
        try:
            while self._launcher.exit_code is None:
                self._stop()
                time.sleep(_POLL_S)
        finally:
            self._launcher.kill()

    def _new_steps(self) -> Iterator[StepMetrics]:
        if not self._job.metrics_path.is_file():
            return
        with self._job.metrics_path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                metrics = from_line(line.decode())
                if metrics.step > self._last_step:
                    self._last_step = metrics.step
                    self._slowest_s = max(self._slowest_s, metrics.seconds)
                    yield metrics

    def _stop(self) -> None:
        """Ask once; kill when there is nothing to lose, or the time is up."""
        if self._kill_at is None:
            worth_it = self._last_step > self._done_before
            grace = _GRACE_S + _GRACE_STEPS * self._slowest_s if worth_it else 0.0
            self._kill_at = time.monotonic() + grace
            stop.ask(self._job.output)
        if time.monotonic() >= self._kill_at:
            self._launcher.kill()  # its ranks die with it


def _error(job: TrainingJob, log_path: Path, otherwise: str) -> TrainingError:
    failure = root_failure(job.output)
    if failure is not None:
        what = failure.message if failure.kind == "TrainingError" else f"{failure.kind}: {failure.message}"
        return TrainingError(
            f"training {job.training_id} stopped, rank {failure.rank}: {what}\nFull log: {log_path}"
        )
    tail = indent(last_lines(log_path, _LOG_LINES), "  ")
    return TrainingError(
        f"training {job.training_id} stopped: {otherwise}. A rank killed without a word is often out of "
        f"memory. Last lines of {log_path}:\n{tail}"
    )
