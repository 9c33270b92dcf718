"""Writes checkpoints: all ranks under a temporary name, which becomes the checkpoint's own when it is whole.

    OUTPUT/checkpoints/step-00000080.partial/   while it is written

A disk that is full must not cost a training: the ranks agree that a checkpoint could not be written, remove
what there is of it and go on; a retry would continue from the last whole one. `checkpoints.py` reads them.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from figa_core.errors import TrainingError
from figa_core.file_hashes import hashes_of, hashes_of_files, write_sealed
from figa_core.files import write_whole
from figa_core.training.checkpoints import WHOLE_NAME, Checkpoint, checkpoints_dir, last_whole, whole_ones
from figa_core.training.failures import OtherRankError
from figa_core.training.job import TrainingJob

_PARTIAL = ".partial"
_HASHES = "hashes-{}.json"  # of a rank's files, until whole.json has them
_PYTORCH = "inline_container"  # in what it says of positions in a file
_REMEDY = "Free space and run again."


class UnwrittenFileError(OSError):
    """A file of a rank's checkpoint could not be written; no other rank waits for this one."""


class Saves(Protocol):
    """What is needed of an engine; see `ZeroEngine`."""

    @property
    def rank(self) -> int: ...
    @property
    def ranks(self) -> int: ...
    def total(self, *values: float) -> list[float]: ...
    def save_state(self, directory: Path, tag: str) -> Collection[Path]: ...


def save_on_all_ranks(
    job: TrainingJob, engine: Saves, checkpoint: Checkpoint, results: Collection[int]
) -> TrainingError | None:
    """Write a checkpoint, and remove old ones (`mark_whole`). All ranks call it.

    Returns the error if it could not be written; on a rank without one of its own, an `OtherRankError`.

    Raises:
        TrainingError: this rank failed so that the ranks can't go on together.
    """

    def all_ranks(action: Callable[[], None]) -> bool:
        nonlocal error
        try:
            action()
        except TrainingError as raised:
            if engine.ranks > 1 and not isinstance(raised.__cause__, UnwrittenFileError):
                raise
            error = raised
        return engine.total(float(error is not None))[0] == 0

    error: TrainingError | None = None
    begun = time.monotonic()
    if all_ranks(lambda: save(job, checkpoint, engine.save_state, rank=engine.rank)) and all_ranks(
        lambda: mark_whole(job, checkpoint, results=results, begun=begun) if engine.rank == 0 else None
    ):
        return None
    if engine.rank == 0:
        shutil.rmtree(_partial(job, checkpoint), ignore_errors=True)
    return error or OtherRankError(f"step {checkpoint.step}: another rank cannot write its checkpoint.")


def going_on(error: TrainingError, job: TrainingJob, step: int) -> str:
    """What a person is told if the training goes on after this error of `save_on_all_ranks`."""
    next_step = step + job.training.checkpoint_steps
    then = f"The next one is due after step {next_step}. " if next_step < job.steps else ""
    return f"{str(error).removesuffix(_REMEDY)}The training goes on without it. {then}Free space."


def save(
    job: TrainingJob, checkpoint: Checkpoint, write: Callable[[Path, str], Iterable[Path]], *, rank: int = 0
) -> None:
    """Let this rank `write` its part below (directory, tag), and hash the files that it returns.

    `mark_whole` follows once all ranks have.

    Raises:
        TrainingError: it cannot be written, usually because the disk is full; earlier checkpoints are kept.
    """
    partial = _partial(job, checkpoint)
    with _writing(job, checkpoint):
        partial.parent.mkdir(parents=True, exist_ok=True)
        files = write(partial.parent, partial.name)
    with _writing(job, checkpoint, others_wait=True):
        hashes = hashes_of_files(partial, [path.relative_to(partial).as_posix() for path in files])
        write_whole(partial / _HASHES.format(rank), json.dumps(hashes).encode())


def mark_whole(
    job: TrainingJob, checkpoint: Checkpoint, *, results: Collection[int] = (), begun: float | None = None
) -> None:
    """Give it its name, then remove all but the newest, and the last one up to each of the `results`.

    Rank 0 calls it after all ranks have written. The training may go back to one of these steps. `begun`:
    when the checkpoint was, by `time.monotonic`.

    Raises:
        TrainingError: it cannot be written.
    """
    directory, partial = checkpoints_dir(job), _partial(job, checkpoint)
    with _writing(job, checkpoint, others_wait=True):
        files = _hashes_of_all_ranks(partial)
        seconds = None if begun is None else round(time.monotonic() - begun, 3)
        write_sealed(partial / WHOLE_NAME, asdict(replace(checkpoint, files=files, write_seconds=seconds)))
        shutil.rmtree(directory / checkpoint.tag, ignore_errors=True)  # of other ranks, in earlier releases
        partial.rename(directory / checkpoint.tag)
    whole = [c for c in whole_ones(job) if c.step <= checkpoint.step]
    kept = [c for step in results for c in [c for c in whole if c.step <= step][-1:]]
    for old in whole[: -job.training.checkpoints.kept]:
        if old not in kept:
            shutil.rmtree(directory / old.tag)


def _hashes_of_all_ranks(partial: Path) -> dict[str, str]:
    """What each rank noted of its files, and the hashes of any others; the notes are removed."""
    found: dict[str, str] = {}
    for note in sorted(partial.glob(_HASHES.format("*"))):
        found |= json.loads(note.read_text(encoding="utf-8"))
        note.unlink()
    return dict(sorted({**found, **hashes_of(partial, without=frozenset((WHOLE_NAME, *found)))}.items()))


class Deferred:
    """A checkpoint engine of DeepSpeed that writes what it can: its ranks meet between writes, so that one
    which stopped at a full disk would leave the others waiting.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.error: Exception | None = None
        self.files: list[Path] = []

    def save(self, state_dict: Any, path: str) -> Any:
        """Write a file, unless one failed; an error is kept for `check`. `files` are those that were."""
        if self.error is None:
            try:
                written = self._writer.save(state_dict, path)
                self.files.append(Path(path))
                return written
            except (OSError, RuntimeError) as error:  # the latter is PyTorch's for a file in its own format
                self.error = error
        return None

    def copy(self, source: Path, target: Path) -> None:
        """Copy a directory of DeepSpeed's files on disk but for gradients, unless a file failed."""
        if self.error is None:
            try:
                shutil.copytree(source, target, ignore=_gradients)
            except OSError as error:
                self.error = error
            self.files += [path for path in target.rglob("*") if path.is_file()]

    def check(self) -> None:
        """Raises UnwrittenFileError if a file could not be written."""
        if self.error is not None:
            raise UnwrittenFileError(str(self.error)) from self.error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def _gradients(_directory: str, names: list[str]) -> list[str]:
    return [name for name in names if "gradient" in name]


def _partial(job: TrainingJob, checkpoint: Checkpoint) -> Path:
    return checkpoints_dir(job) / f"{checkpoint.tag}{_PARTIAL}"


@contextlib.contextmanager
def _writing(job: TrainingJob, checkpoint: Checkpoint, *, others_wait: bool = False) -> Iterator[None]:
    """Tell an error in words. `others_wait`: this rank is alone at work, so all can go on together."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        before = last_whole(job)
        kept = f"The checkpoint of step {before.step} is kept" if before else "There is no earlier one"
        free = shutil.disk_usage(job.output).free / 2**30
        reason = str(error).partition("\n")[0] or type(error).__name__
        if _PYTORCH in reason:
            reason = "PyTorch could not write a file to its end, as on a full disk or at a quota"
        cause = UnwrittenFileError(reason) if others_wait else error
        raise TrainingError(
            f"{checkpoints_dir(job) / checkpoint.tag}: cannot write the checkpoint ({reason}); {free:.1f} "
            f"GiB are free there. {kept}. {_REMEDY}"
        ) from cause
