"""Machines with a workspace each, of the same content through a store, and trainings as they leave them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from figa_core.file_hashes import hashes_of, write_sealed
from figa_core.files import whole_files
from tasks.artifacts import Artifacts
from tasks.workspace import Workspace
from tests.figa_core.artifacts.counting import Counting


@dataclass
class Machine:
    """One with a workspace, and what it tells."""

    workspace: Workspace
    store: Counting
    told: list[str] = field(default_factory=list)
    away_s: float = 600.0

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.workspace, self.store, self.told.append, away_s=self.away_s)

    @property
    def output(self) -> Path:
        return self.workspace.training("one")

    def files(self) -> dict[str, str]:
        return {name: (self.output / name).read_text() for name in whole_files(self.output)}


def write(output: Path, **files: str) -> None:
    for name, content in files.items():
        path = output / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def checkpoint(machine: Machine, step: int) -> None:
    """As a training leaves it: figures, and the newest checkpoint only."""
    tag = f"step-{step:08d}"
    write(machine.output, **{"metrics.jsonl": f"{step} steps", f"checkpoints__{tag}__weights": str(step)})
    directory = machine.output / "checkpoints" / tag
    files = hashes_of(directory, without=frozenset(("whole.json",)))
    write_sealed(directory / "whole.json", {"step": step, "files": files})
    for old in (machine.output / "checkpoints").glob("step-*/*"):
        if old.parent.name != tag:
            old.unlink()


def fail(machine: Machine, train: Callable[[], object]) -> None:
    def failing() -> None:
        with machine.artifacts.training(machine.output):
            train()
            raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        failing()


def finish(machine: Machine) -> None:
    for path in machine.output.rglob("checkpoints/*/*"):
        path.unlink()
    write(machine.output, **{"metrics.jsonl": "all steps", "model__weights": "trained"})
    fields: dict[str, object] = {"training_id": "one", "steps": 9, "skipped_steps": 0, "wall_seconds": 1.0}
    fields |= {"peak_rss_bytes": 1, "versions": {}, "files": hashes_of(machine.output / "model")}
    write_sealed(machine.output / "manifest.json", fields)
