"""Directories as trainings leave them, and a tracker that keeps what it gets."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from figa_core.file_hashes import write_sealed
from figa_core.tracking import files
from figa_core.tracking.files import Results
from figa_core.tracking.follow import Trackers, send, tracked
from figa_core.tracking.tracker import Entry, TrackedRun
from figa_core.training.metrics import StepMetrics, to_line

RUN = TrackedRun("support: FIGA 1a2b3c4d", "figa", "support", {"training.seed": 3, "loss.alpha": 0.5})


def step_of(step: int) -> StepMetrics:
    """Its figures differ from step to step; a gradient norm and a figure are missing now and then."""
    return StepMetrics(
        step=step,
        loss=1.0 / step,
        counted=10 * step,
        tokens=100 + step,
        pairs=4,
        seconds=0.25,
        learning_rate=1e-5 * step,
        grad_norm=None if step == 2 else 2.0 + step,
        skipped=step == 3,
        figures={"edited_nll": 0.125 * step, "kl_from_base": None if step % 2 else 0.5},
    )


def add_steps(output: Path, steps: Iterable[int]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with (output / "metrics.jsonl").open("a") as file:
        file.writelines(to_line(step_of(step)) for step in steps)


def finish(output: Path, steps: int) -> None:
    """The manifest of a training that has finished."""
    fields = {
        "training_id": output.name,
        "steps": steps,
        "skipped_steps": 1,
        "wall_seconds": 12.5,
        "peak_rss_bytes": 1000,
        "versions": {},
    }
    write_sealed(output / "manifest.json", fields)


def figures_in_metrics(output: Path) -> dict[int, dict[str, float]]:
    """Every figure of metrics.jsonl by step, read as plain JSON."""
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return {
        row.pop("step"): {f"training/{k}": float(v) for k, v in row.items() if v is not None} for row in rows
    }


@dataclass
class Recording:
    """`fails` is raised by the next call of `log`; `place` is where the service says that its runs are."""

    place: str = "online"
    fails: Exception | None = None
    entries: list[Entry | None] = field(default_factory=list)
    steps: dict[int, Mapping[str, float]] = field(default_factory=dict)
    logged: list[int] = field(default_factory=list)
    summaries: list[Mapping[str, float]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    artifacts: list[Path] = field(default_factory=list)
    succeeded: bool | None = None

    def start(self, run: TrackedRun, entry: Entry | None) -> Entry:
        self.entries.append(entry)
        return Entry(run.name, self.place)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        self.logged.append(step)
        self.steps[step] = figures

    def flush(self) -> None:
        pass

    def summarise(self, step: int, figures: Mapping[str, float], settings: Mapping[str, str]) -> None:
        self.summaries.append(figures)
        self.settings |= settings

    def artifact(self, path: Path) -> None:
        self.artifacts.append(path)

    def finish(self, *, succeeded: bool) -> None:
        self.succeeded = succeeded


def stopped_resumed_and_judged(tmp_path: Path, trackers: Trackers) -> tuple[Path, Path]:
    """A training that was stopped after three steps, continued to five, judged and reported, as a tracker's
    processes have followed it. Returns its directory and the report.
    """
    output, report = tmp_path / "training-1", tmp_path / "report.html"
    add_steps(output, [1, 2, 3])
    with tracked(output, RUN, trackers):
        pass
    with tracked(output, RUN, trackers):
        add_steps(output, [4, 5])
        finish(output, 5)
    report.write_text("<html>the report</html>")
    results = Results({"evaluation/verifier": 81.5}, {"revision.model": "r"}, (str(report),))
    files.write_results(output, results)
    send([output], trackers)
    return output, report


def require_nowhere(secret: str, directory: Path) -> None:
    """No file below the directory has it."""
    for path in directory.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def begin(output: Path) -> None:
    """What the parent writes before a tracker's process starts."""
    files.write_run(output, RUN)
