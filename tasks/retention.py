"""Which results of old runs may be removed from a workspace, and their removal.

Only files that the same commands make again are removed: shard sets, trainings with their models, sweeps,
merged models, reward models in the form that engines load, logs, and leftovers of killed runs. The database,
the journal of paid answers, reports, verdicts and what trackers wrote stay.

A run is kept if it ended (or, without an end, began) within the given time. Kept with it is everything that
it needs: its shard set, every training on it and their sweeps, and every directory in the workspace that its
settings or the jobs of these trainings name, such as the model of an earlier round. So is what a training or
a sweep needs that a process works on, or that was written to within that time, whoever asked for it, and what
a run that waits on a Prefect server names or continues (`Waiting`, which the caller asks for).
Everything else is removed once none of its files has been written within that time.
"""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from figa_core.errors import WorkspaceError
from figa_core.file_hashes import read_sealed
from figa_core.files import files_below
from figa_core.models.fingerprint import MERGED
from figa_core.rl.job_rewards import with_rewards
from figa_core.storage.runs import Run, all_runs
from figa_core.storage.trainings import trainings_of
from figa_core.training.checkpoints import MANIFEST_NAME
from tasks.backup import paths_in
from tasks.sweep import NAME as SWEEP
from tasks.workspace import Workspace

RESULTS = ("shards", "trainings", "sweeps", "merged", "reward-models")
"""The directories of a workspace with what can be made again, by the id of each."""

_WORKED_ON = ("trainings", "sweeps", "merged")
"""Those that a process locks while it makes them, without the workspace's lease."""


Roots = frozenset[Path]


@dataclass(frozen=True, slots=True)
class Removable:
    """A result or a file that no kept run needs: what kind, where, its bytes, and its last change."""

    kind: str
    path: Path
    size: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """What runs need that wait for their turn or are under way.

    Attributes:
        paths: in the workspace, those that they name.
        run_ids: the beginnings of the ids of runs that they continue; "" for the latest run.
        all_runs: whether they may continue any run: which one is not known here.
    """

    paths: frozenset[Path] = frozenset()
    run_ids: frozenset[str] = frozenset()
    all_runs: bool = False

    def continues(self, run: Run, *, is_latest: bool) -> bool:
        """Whether one of them continues this run, or may."""
        return self.all_runs or any(
            run.run_id.startswith(each) if each else is_latest for each in self.run_ids
        )


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What would be removed, and the ids of the runs that are kept with all they need."""

    removable: tuple[Removable, ...]
    kept_runs: tuple[str, ...]
    old_runs: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that removing it all would free."""
        return sum(each.size for each in self.removable)


def plan_cleaning(workspace: Workspace, before: datetime, waiting: Waiting | None = None) -> Cleaning:
    """What can be removed if runs that ended before this time are not kept; removes nothing.

    `waiting`: what is needed however old it is.
    """
    runs, waiting = all_runs(workspace.database), waiting or Waiting()
    kept = [
        run
        for run in runs
        if (run.ended_at or run.started_at) >= before or waiting.continues(run, is_latest=run is runs[0])
    ]
    needed = _needed(workspace, kept, before, _roots(workspace, runs), waiting.paths)
    results = (
        Removable(folder, path, *_size_and_time(path))
        for folder in RESULTS
        for path in sorted((workspace.directory / folder).glob("*"))
        if path.is_dir() and not _is_needed(path, needed)
    )
    found = [*results, *_leftovers(workspace)]
    return Cleaning(
        tuple(each for each in found if each.changed_at < before),
        tuple(run.run_id for run in kept),
        tuple(run.run_id for run in runs if run not in kept),
    )


def remove(workspace: Workspace, cleaning: Cleaning) -> list[Removable]:
    """Remove what was planned; the caller holds the workspace's lease. Returns what was removed.

    A result that another process works on is left alone. Each is first moved aside, so that no killed removal
    leaves half of one in its place.

    Raises:
        WorkspaceError: something cannot be removed.
    """
    removed = []
    for each in cleaning.removable:
        try:
            if each.path.is_dir():
                lock = _locked(each.path) if each.kind in _WORKED_ON else contextlib.nullcontext(True)
                with lock as free:
                    if not free:
                        continue
                    _remove_directory(each.path, workspace.scratch("removed"))
            else:
                each.path.unlink(missing_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"{each.path}: cannot be removed: {error.strerror or error}. Correct the permissions, then "
                "run the same command."
            ) from error
        removed.append(each)
    return removed


def _needed(
    workspace: Workspace, kept: Collection[Run], before: datetime, roots: Roots, waiting: Collection[Path]
) -> set[Path]:
    """What the kept runs, waiting runs, trainings and sweeps under way need, and what that was made from."""
    needed = set(waiting) | {
        path for path in _trained(workspace) if _size_and_time(path)[1] >= before or _is_worked_on(path)
    }
    for run in kept:
        for _, path in paths_in(run.config):
            needed |= _where_now(path, workspace, roots)
        shard_set_id = run.found.shard_set_id
        trainings = {
            *run.found.trainings.values(),
            *trainings_of(workspace.database, run.run_id, shard_set_id),
        }
        needed |= {workspace.training(training_id) for training_id in trainings}
        if shard_set_id:
            needed.add(workspace.shards(shard_set_id))
    while len(more := needed | _made_with(workspace, needed, roots)) > len(needed):
        needed = more
    return needed


def _roots(workspace: Workspace, runs: Collection[Run]) -> Roots:
    """The directories where the workspace was before, as its runs and the jobs of its trainings name them."""
    found = {Path(str(run.config.get("workspace", {}).get("path", ""))) for run in runs}
    found |= {Path(str(_job_of(path).get("shards", ""))).parent.parent for path in _trained(workspace)}
    return frozenset(root for root in found if len(root.parts) > 1 and root != workspace.directory)


def _where_now(path: Path, workspace: Workspace, roots: Roots) -> set[Path]:
    """The path, and where it is in this workspace if it was in it before the workspace was moved."""
    return {
        path,
        *(workspace.directory / path.relative_to(root) for root in roots if path.is_relative_to(root)),
    }


def _reward_models(job: Mapping[str, Any]) -> list[Path]:
    """Those of a training that learns from rewards; none of another."""
    fields = with_rewards(job)
    rewards = fields.get("rewards") if isinstance(fields, dict) else None
    listed = rewards if isinstance(rewards, list) else []
    return [Path(str(each["model"])) for each in listed if isinstance(each, dict) and each.get("model")]


def _made_with(workspace: Workspace, needed: Collection[Path], roots: Roots) -> set[Path]:
    """The trainings and sweeps on needed shard sets, what they are made from, merged models of needed
    adapters, and the forms of needed reward models.
    """
    found: set[Path] = set()
    for path in _trained(workspace):
        job = _job_of(path)
        shards, model = (Path(str(job.get(key, ""))) for key in ("shards", "model"))
        if _is_needed(path, needed) or workspace.shards(shards.name) in needed:
            is_finished = (path / MANIFEST_NAME).is_file()
            found |= {path, *_where_now(model, workspace, roots)}
            for reward_model in _reward_models(job):
                found |= _where_now(reward_model, workspace, roots)
            if not is_finished:
                found.add(workspace.shards(shards.name))
            if isinstance(sweep_id := _fields(path / SWEEP).get("sweep_id"), str):
                found.add(workspace.sweep(sweep_id))
    for path in sorted((workspace.directory / "merged").glob("*")):
        adapter = _fields(path / MERGED).get("adapter")
        adapters = _where_now(Path(adapter), workspace, roots) if isinstance(adapter, str) else set[Path]()
        if _is_needed(path, needed) or adapters & set(needed):
            found |= {path, *adapters}
    resolved = {each.resolve() for each in needed}
    forms = (workspace.directory / "reward-models").glob("*")
    return found | {form for form in forms if not resolved.isdisjoint(_linked(form))}


def _linked(form: Path) -> set[Path]:
    """The directories to which a reward model's form has links: that of the model itself."""
    return {path.resolve().parent for path in form.glob("*") if path.is_symlink()}


def _trained(workspace: Workspace) -> list[Path]:
    """The directories of trainings and sweeps, which say in one way what they are made from."""
    folders = (workspace.directory / name for name in ("trainings", "sweeps"))
    return [path for folder in folders for path in sorted(folder.glob("*")) if path.is_dir()]


def _is_needed(path: Path, needed: Collection[Path]) -> bool:
    """Whether the directory, or something in it, is needed."""
    return any(each == path or each.is_relative_to(path) for each in needed)


def _job_of(training: Path) -> dict[str, Any]:
    """The job of a training or a sweep, finished or not; empty if there is none."""
    job = _fields(training / MANIFEST_NAME).get("job") or _fields(training / "job.json")
    return job if isinstance(job, dict) else {}


def _fields(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        return read_sealed(path)
    return {}


def _leftovers(workspace: Workspace) -> Iterator[Removable]:
    """Logs, and what killed runs left behind; nobody reads either again."""
    for path in sorted(workspace.logs.glob("*")):
        if path.is_file():
            yield Removable("logs", path, *_size_and_time(path))
    for path in sorted((workspace.directory / "scratch").glob("*")):
        if path.is_dir():
            yield Removable("scratch", path, *_size_and_time(path))


def _size_and_time(path: Path) -> tuple[int, datetime]:
    """Bytes of all files but for links, and the time of the last change of one of them.

    For what is gone meanwhile the time is now.
    """
    try:
        own = path.stat()
    except FileNotFoundError:
        return 0, datetime.now().astimezone()
    below = files_below(path) if path.is_dir() else [(path, own)]
    files = [state for file, state in below if not file.is_symlink()]
    changed = max(state.st_mtime for state in (own, *files))
    return sum(state.st_size for state in files), datetime.fromtimestamp(changed).astimezone()


def _is_worked_on(result: Path) -> bool:
    if not result.with_name(f"{result.name}.lock").is_file():
        return False
    with _locked(result) as free:
        return not free


@contextlib.contextmanager
def _locked(result: Path) -> Iterator[bool]:
    """Whether no process works on this result (`training/directory_lock.py`), which the block keeps so."""
    lock = FileLock(result.with_name(f"{result.name}.lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _remove_directory(path: Path, aside: Path) -> None:
    aside.mkdir(parents=True, exist_ok=True)
    moved = aside / f"{path.name}.{os.getpid()}"
    try:
        path.replace(moved)
    except OSError:  # a mount point or another disk
        moved = path
    shutil.rmtree(moved)
