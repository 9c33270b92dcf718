"""Trains a degraded reward model in a process of its own, or finds it trained. This module imports no torch.

A directory is complete with its manifest, which is written last. Equal work has an equal id, so nothing is
trained twice; what a killed process left is removed.
"""

import json
import logging
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from figa_core.errors import TrainingError, WorkspaceError
from figa_core.files import write_whole
from figa_core.processes import interruption
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed
from figa_core.training.directory_lock import locked

_LOGGER = logging.getLogger("figa_core.study")
_MANIFEST = "manifest.json"
_DEVICES = "CUDA_VISIBLE_DEVICES"
PAIRS_PER_STEP = 16


@dataclass(frozen=True, slots=True)
class HeadJob:
    """One reward model to train.

    Attributes:
        pairs: the table of pairs to train on (`pairs.write_table`).
        key, share, noise: see `degrade.Degradation`.
        start: directory of the decoder.
        output: directory of the result; `model` in it is a Hugging Face directory.
        steps: of 16 pairs, the same for all variants, so that they differ in the pairs alone.
        learning_rate: None for one that fits the size.
    """

    pairs: Path
    key: str
    share: float
    noise: float
    start: Path
    output: Path
    steps: int
    max_length: int
    learning_rate: float | None
    seed: int = 0

    @property
    def model(self) -> Path:
        return self.output / "model"

    def write(self, path: Path) -> None:
        fields = {
            name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()
        }
        write_whole(path, json.dumps(fields).encode())

    @classmethod
    def read(cls, path: Path) -> "HeadJob":
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        paths = {name: Path(fields[name]) for name in ("pairs", "start", "output")}
        return cls(**{**fields, **paths})


def trained_figures(job: HeadJob) -> dict[str, float] | None:
    """The figures of a reward model that is trained; None if it is not."""
    path = job.output / _MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def train_head(job: HeadJob, log_path: Path) -> dict[str, float]:
    """Train it unless it is trained; returns its figures: pairs, steps, loss, parameters, learning rate.

    Raises:
        TrainingError: the process failed; the message has its last lines.
        WorkspaceError: the directory cannot be written.
    """
    with locked(job.output, f"the reward model {job.key}"):
        return trained_figures(job) or _train(job, log_path)


def _train(job: HeadJob, log_path: Path) -> dict[str, float]:
    try:
        shutil.rmtree(job.output, ignore_errors=True)
        job.output.mkdir(parents=True)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        job.write(job.output / "job.json")
    except OSError as error:
        raise WorkspaceError(
            f"{job.output}: cannot be written: {error.strerror or error}. Free space, or correct the "
            "permissions."
        ) from error
    with followed(log_path, _LOGGER), interruption.doing(f"the reward model {job.key} stops"):
        command = [sys.executable, "-m", "figa_core.study.reward.worker", str(job.output / "job.json")]
        child = Child(command, log_path, environment=_environment())
        code = child.finish()
    if code != 0:
        raise TrainingError(
            f"{job.output}: the reward model {job.key} could not be trained from {job.start}. Last lines of "
            f"{log_path}:\n{indent(child.log_tail(), '  ')}"
        )
    shutil.rmtree(job.output / "scratch", ignore_errors=True)
    figures = (job.output / "figures.json").read_text(encoding="utf-8")
    write_whole(job.output / _MANIFEST, figures.encode())
    return json.loads(figures)


def _environment() -> dict[str, str]:
    """One GPU: Trainer would copy the model to all that it sees."""
    first = os.environ.get(_DEVICES, "0").partition(",")[0]
    return child_environment(
        **{_DEVICES: first}, TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1"
    )
