"""Copies a workspace while it may be in use, and makes a workspace of such a copy.

A backup is a directory with the workspace's files and ``backup.json``, which holds the SHA-256 of each and is
written last: its existence means whole. The database is copied first, between two units of work of the run
that uses it, then the journal: it is append-only, so that it is the newer of the two, and the next run takes
from it what the database lacks. Of shard sets and trainings only whole ones are copied; what a run can make
again at no cost (`LEFT_OUT`) is not.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from figa_core.annotation.store import JudgementFile
from figa_core.config.file import given_paths
from figa_core.errors import StorageError, WorkspaceError
from figa_core.file_hashes import read_sealed, write_sealed
from figa_core.files import files_below
from figa_core.processes import interruption
from figa_core.processes.lease import is_held
from figa_core.shards.manifest import MANIFEST_NAME as SHARDS_MANIFEST
from figa_core.storage.migrations import SCHEMA_VERSION
from figa_core.storage.runs import all_runs
from figa_core.training.checkpoints import DROPPED_NAME
from figa_core.training.checkpoints import MANIFEST_NAME as TRAINING_MANIFEST
from figa_core.training.sweep import MANIFEST_NAME as SWEEP_MANIFEST
from tasks.workspace import Workspace

NAME = "backup.json"
LEFT_OUT = (
    "scratch files, merged models, reward models in the form that engines load, unfinished trainings, and "
    "the Prefect server's history"
)
_WHOLE: Mapping[str, tuple[str, ...]] = {
    "shards": (SHARDS_MANIFEST,),
    "trainings": (TRAINING_MANIFEST, DROPPED_NAME),
    "sweeps": (SWEEP_MANIFEST,),
}
"""Folders of results, and the files that each result needs one of to be whole."""
_PLAIN = ("journal", "templates", "reports", "studies", "verdicts", "tracking", "logs")
_FILES = ("fingerprints.json",)
_BLOCK = 1 << 22
_FORMAT = 1
_MOST_WAIT_S = 20.0  # a run waits 30 s for the database, then it ends
OnFile = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file of a backup: its size in bytes and its SHA-256 (hex)."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Backup:
    """What ``backup.json`` holds.

    `files` by their names relative to the workspace; `workspace` is its directory when it was copied, and
    `outside` the files and models elsewhere that its runs need, by the setting that names them.
    """

    version: str
    schema: int
    workspace: str
    taken_at: str
    files: Mapping[str, CopiedFile]
    outside: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(each.size for each in self.files.values())


def back_up(
    workspace: Workspace, target: Path, *, version: str, taken_at: str, on_file: OnFile = lambda _: None
) -> Backup:
    """Copy the workspace into the new directory `target`; a run may use it meanwhile.

    `version` is this package's, `taken_at` the time in words; `on_file` gets the name of each file to come.

    Raises:
        WorkspaceError: `target` exists, lies in the workspace, or cannot be written.
        StorageError: the database cannot be read or copied in time.
    """
    with _appearing(target, workspace.directory) as partial:
        on_file(workspace.database.path.name)
        copied = Workspace(partial).database
        within_s = _MOST_WAIT_S if is_held(workspace.directory) else None
        workspace.database.copy_to(copied.path, within_s=within_s)
        files = {copied.path.name: _described(copied.path)}
        files |= _copy_judgements(workspace, Workspace(partial))
        files |= _copy_files(workspace.directory, partial, on_file)
        backup = Backup(
            version=version,
            schema=SCHEMA_VERSION,
            workspace=str(workspace.directory),
            taken_at=taken_at,
            files=files,
            outside=_outside(Workspace(partial), workspace.directory),
        )
        write_sealed(partial / NAME, {"format": _FORMAT, **asdict(backup)})
    return backup


def read_backup(directory: Path) -> Backup:
    """What a backup holds.

    Raises:
        StorageError: there is no whole backup, or it is of a newer version than this one.
    """
    path = directory / NAME
    try:
        fields = read_sealed(path)
        form = fields.pop("format")
        files = {name: CopiedFile(**each) for name, each in fields.pop("files").items()}
        backup = Backup(files=files, **fields)
    except FileNotFoundError as error:
        raise StorageError(
            f"{directory}: no whole backup here: {NAME}, which is written last, is missing. Give the "
            "directory of one."
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StorageError(f"{path}: cannot be read: {error}. Use another backup.") from error
    if form != _FORMAT or backup.schema > SCHEMA_VERSION:
        raise StorageError(
            f"{directory}: the backup is of figa {backup.version} (schema {backup.schema}), and this version "
            f"knows schema {SCHEMA_VERSION}. Update figa, then restore it."
        )
    return backup


def restore(directory: Path, target: Path, *, on_file: OnFile = lambda _: None) -> Backup:
    """Make the new workspace `target` of a backup, whose files are checked on the way.

    Raises:
        StorageError: see `read_backup`; or a file is missing or has changed. Then there is no `target`.
        WorkspaceError: `target` exists, or cannot be written.
    """
    backup = read_backup(directory)
    with _appearing(target, directory) as partial:
        damaged = []
        for name, expected in backup.files.items():
            interruption.check()
            on_file(name)
            found = _copied(directory / name, partial / name)
            if found != expected:
                damaged.append(f"{name} {'is missing' if found is None else 'has changed'}")
        if damaged:
            shown = ", ".join(damaged[:10]) + (f", and {len(damaged) - 10} more" if damaged[10:] else "")
            raise StorageError(f"{directory}: the backup is damaged: {shown}. Use another one.")
    return backup


@contextlib.contextmanager
def _appearing(target: Path, source: Path) -> Iterator[Path]:
    """A directory to fill, which becomes `target` at the end; after an error nothing is left of it."""
    if target.resolve().is_relative_to(source.resolve()):
        raise WorkspaceError(f"{target}: lies in {source} itself. Choose a directory outside.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise WorkspaceError(f"{target}: exists already. Choose a new directory, or move that one away.")
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.replace(target)
    except OSError as error:
        raise WorkspaceError(
            f"{target}: cannot be written: {error.strerror or error}. Free space, or choose another "
            "directory."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_judgements(workspace: Workspace, target: Workspace) -> dict[str, CopiedFile]:
    """Copy what people said, if anybody has, as it is between two judgements."""
    if not workspace.annotations.exists():
        return {}
    JudgementFile(workspace.annotations).copy_to(target.annotations)
    return {target.annotations.name: _described(target.annotations)}


def _copy_files(directory: Path, partial: Path, on_file: OnFile) -> dict[str, CopiedFile]:
    """Copy all but the database. A result that was removed meanwhile counts as not there: a comparison
    removes the models that it has judged.
    """
    files: dict[str, CopiedFile] = {}
    torn: set[str] = set()
    for name in _names(directory):
        interruption.check()
        on_file(name)
        if (found := _copied(directory / name, partial / name)) is not None:
            files[name] = found
        elif name.partition("/")[0] in _WHOLE:
            torn.add(_result_of(name))
    for result in torn:
        shutil.rmtree(partial / result, ignore_errors=True)
    return {name: each for name, each in files.items() if _result_of(name) not in torn}


def _result_of(name: str) -> str:
    """Such as "trainings/ID"."""
    return "/".join(name.split("/")[:2])


def _names(directory: Path) -> Iterator[str]:
    """The files to copy, relative to the workspace; the journal comes first."""
    for folder in _PLAIN:
        yield from _below(directory, directory / folder)
    for folder, manifests in _WHOLE.items():
        for result in sorted((directory / folder).glob("*")):
            names = _below(directory, result)
            if any((result / name).is_file() for name in manifests):  # after listing: then the list is whole
                yield from names
    yield from _FILES


def _below(directory: Path, folder: Path) -> list[str]:
    return [
        path.relative_to(directory).as_posix()
        for path, _ in sorted(files_below(folder))
        if path.suffix not in (".lock", ".partial")
    ]


def _copied(source: Path, target: Path) -> CopiedFile | None:
    """Copy what the file holds now; None if it is gone."""
    sha256, size = hashlib.sha256(), 0
    try:
        read = source.open("rb")
    except FileNotFoundError:
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    with read, target.open("wb") as written:
        left = os.fstat(read.fileno()).st_size  # a log may grow faster than it is copied
        while left and (block := read.read(min(_BLOCK, left))):
            written.write(block)
            sha256.update(block)
            size, left = size + len(block), left - len(block)
        written.flush()
        os.fsync(written.fileno())
        shutil.copystat(source, target)
    return CopiedFile(size, sha256.hexdigest())


def _described(path: Path) -> CopiedFile:
    with path.open("rb") as file:
        return CopiedFile(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _outside(copied: Workspace, directory: Path) -> dict[str, str]:
    """Setting → path of what the runs need from elsewhere; several paths of one setting are numbered."""
    found: dict[str, str] = {}
    for run in all_runs(copied.database):
        for setting, path in paths_in(run.config):
            if path not in found.values() and not path.is_relative_to(directory):
                found[setting if setting not in found else f"{setting} ({len(found)})"] = str(path)
    return found


def paths_in(config: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The paths that a stored configuration names, but for its workspace, by setting."""
    for setting, path in given_paths(config):
        if isinstance(path, str) and not setting.startswith("workspace."):
            yield setting, Path(path)
