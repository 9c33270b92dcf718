"""Sends a training to one tracker: every step that it lacks, then the training's end and its results."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

from figa_core.tracking import files
from figa_core.tracking.files import Sent
from figa_core.tracking.tracker import Tracker
from figa_core.training.checkpoints import TrainingManifest, read_manifest
from figa_core.training.going_back import metrics_of_all_steps
from figa_core.training.metrics import StepMetrics, read_from

_STEPS_AT_ONCE = 200  # before what was sent is noted


class Sender:
    """Follows the training in the directory `output` for the tracker called `name`.

    Any method may raise what the tracker raises, and may be called again then: what was sent is noted.
    """

    def __init__(self, name: str, tracker: Tracker, output: Path) -> None:
        self._name, self._tracker, self._output = name, tracker, output
        self._metrics = _GrowingMetrics(output / "metrics.jsonl")
        self._waiting: list[StepMetrics] = []
        self._started = False
        self._sent = Sent()

    def start(self) -> None:
        """Begin or continue its run in the tracker, once."""
        if self._started:
            return
        before = files.read_sent(self._output, self._name)
        entry = self._tracker.start(files.read_run(self._output), before.entry)
        self._note(before if entry == before.entry else Sent(entry))
        self._started = True

    def send_steps(self) -> None:
        """Send the steps that were made since the last call."""
        self._waiting += self._metrics.new()
        self._send_waiting()

    def finish(self, *, succeeded: bool) -> None:
        """Send what is left: all steps, the end of a finished training, and its results if there are any."""
        # Those that the training made and its result does not have: metrics.jsonl may have lost them already.
        self._waiting = metrics_of_all_steps(self._output)
        self._send_waiting()
        manifest, results = read_manifest(self._output), files.read_results(self._output)
        if manifest is not None and not self._sent.all_steps:
            self._tracker.summarise(self._sent.step, summary_of(manifest), {})
        if results is not None and results.digest != self._sent.results:
            self._tracker.summarise(self._sent.step, results.figures, results.settings)
            for path in results.artifacts:
                self._tracker.artifact(Path(path))
        self._tracker.finish(succeeded=succeeded)
        digest = self._sent.results if results is None else results.digest
        self._note(replace(self._sent, all_steps=manifest is not None, results=digest))

    def _send_waiting(self) -> None:
        self._waiting = [step for step in self._waiting if step.step > self._sent.step]
        while self._waiting:
            batch = self._waiting[:_STEPS_AT_ONCE]
            for metrics in batch:
                self._tracker.log(metrics.step, figures_of(metrics))
            self._tracker.flush()
            self._note(replace(self._sent, step=batch[-1].step))
            self._waiting = self._waiting[len(batch) :]

    def _note(self, sent: Sent) -> None:
        files.write_sent(self._output, self._name, sent)
        self._sent = sent


def figures_of(metrics: StepMetrics) -> dict[str, float]:
    """Every figure of a line of metrics.jsonl, such as "training/loss", that has a finite value."""
    named = {each.name: getattr(metrics, each.name) for each in fields(metrics)}
    del named["step"]
    return _finite({**named.pop("figures"), **named}, "training")


def summary_of(manifest: TrainingManifest) -> dict[str, float]:
    """What is known at the end of a training."""
    held_out, change = manifest.held_out, manifest.change
    return _finite(
        {
            "steps": manifest.steps,
            "planned_steps": manifest.planned_steps,
            "skipped_steps": manifest.skipped_steps,
            "overflowed_steps": manifest.overflowed_steps,
            "wall_seconds": manifest.wall_seconds,
            "peak_rss_bytes": manifest.peak_rss_bytes,
            "alarms": len(manifest.alarms),
            "weights_moved_by": change.relative if change else None,
            "held_out_best_step": held_out.best_step if held_out else None,
            "held_out_best_loss": held_out.best_loss if held_out else None,
        },
        "result",
    )


def _finite(figures: Mapping[str, float | None], prefix: str) -> dict[str, float]:
    return {
        f"{prefix}/{name}": float(value)
        for name, value in figures.items()
        if value is not None and math.isfinite(value)
    }


class _GrowingMetrics:
    """The new steps of metrics.jsonl at each call; a file that was replaced is read from its start."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._offset = path, 0, 0

    def new(self) -> Iterator[StepMetrics]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return
        if found.st_ino != self._file or found.st_size < self._offset:
            self._file, self._offset = found.st_ino, 0
        steps, self._offset = read_from(self._path, self._offset)
        yield from steps
