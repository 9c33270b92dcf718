"""What of a workspace is copied to its store (`[storage] artifacts`), and when.

Without one, the machines share the workspace's disk, and nothing here is called. With one, the directory of
the workspace has the same path on every machine, and holds there what that machine needs. The run that holds
the workspace sends shard sets, and models that lie in it; the machine that trains sends checkpoints while it
trains, and the result. The content of each directory is sealed by a file that is sent last.
"""

import shutil
import signal
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

from figa_core.artifacts.claim import claimed
from figa_core.artifacts.mirror import Mirror, Sides
from figa_core.artifacts.patience import AWAY_S, Patience
from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError
from figa_core.files import PARTIAL, sealing_last, whole_files, write_whole
from figa_core.inference import shard_sides
from figa_core.inference.shard_folder import IsBehind, ShardFolder
from figa_core.models.adapter import is_adapter, named_base, underlying
from figa_core.models.fingerprint import model_fingerprint
from figa_core.processes import interruption
from figa_core.shards.manifest import MANIFEST_NAME
from figa_core.training import stored_copy
from figa_core.training.checkpoints import MODEL_NAME, read_manifest
from figa_core.training.failures import clear_failures
from tasks.workspace import Workspace

_CHECKPOINTS_EVERY_S = 10.0
_END_S = 60.0
"""For so long the end of dealt shards is sent again; without it the workers end after two minutes more."""
_Tell = Callable[[str], None]


class Artifacts:
    """The store of one workspace.

    A store that is away or overloaded is asked again, for half an hour. Then, or if it fails otherwise, every
    method raises ArtifactsError; and InterruptedRunError if this process is asked to stop while it waits.
    """

    def __init__(
        self, workspace: Workspace, store: Store, tell: _Tell = lambda _: None, *, away_s: float = AWAY_S
    ) -> None:
        """`tell` gets a line about what takes a while, and about a store that fails for a time."""
        self._workspace, self._tell, self._away_s = workspace, tell, away_s
        self._store = store.patient(away_s, tell)
        self._at_once = store.patient(0.0)
        """For threads that come again by themselves."""

    @classmethod
    def of(cls, workspace: Workspace, url: str | None, tell: _Tell = lambda _: None) -> "Artifacts | None":
        """None without a URL. Raises ConfigError for one of no known kind."""
        return None if url is None else cls(workspace, Store(url), tell)

    def send_shards(self, shards: Path) -> None:
        """Send a complete shard set, unless it is there."""
        name, seal = self._name(shards), MANIFEST_NAME
        if self._store.read(f"{name}/{seal}") != (shards / seal).read_bytes():
            self._send(shards, lambda directory: sealing_last(whole_files(directory), seal))

    def fetch_shards(self, shards: Path) -> None:
        """Fetch a shard set, unless it is here."""
        name, seal = self._name(shards), MANIFEST_NAME
        there = self._store.read(f"{name}/{seal}")
        here = (shards / seal).read_bytes() if (shards / seal).exists() else None
        if there is None and here is None:
            raise ArtifactsError(
                f"{self._store.url}: there is no complete shard set {name}. Start the run again that has it "
                "in its workspace: it sends it."
            )
        if here is None or there not in (None, here):
            self._fetch_as(name, shards, lambda names: sealing_last(names, seal))

    def send_model(self, model: Path) -> None:
        """Send a model that lies in the workspace, unless it is there; others have it under the same path.

        With an adapter goes its base model, if that lies in the workspace too.
        """
        if (training := self._training_of(model)) is not None:
            self.send_result(training)
        elif self._is_ours(model):
            found = self._fingerprint(model)
            if self._store.read(self._whole(model)) != found:
                self._store.remove([self._whole(model)])
                self._send(model, whole_files)
                _remove_others(self._store, self._name(model), whole_files(model))
                self._store.write(self._whole(model), found)
        if is_adapter(model):
            self.send_model(underlying(model))

    def fetch_model(self, model: Path) -> None:
        """Fetch a model that lies in the workspace, unless it is here, or not in the store either."""
        if (training := self._training_of(model)) is not None:
            self.fetch_result(training)
        elif self._is_ours(model):
            wanted = self._store.read(self._whole(model))
            if wanted is not None and not (model.is_dir() and self._fingerprint(model) == wanted):
                copy = _beside(model)
                self._fetch_as(self._name(model), copy, sorted)
                if is_adapter(copy):  # whose fingerprint is also that of its base
                    self.fetch_model(named_base(copy))
                if not copy.is_dir() or self._fingerprint(copy) != wanted:
                    raise ArtifactsError(
                        f"{self._store.url}/{self._name(model)}: the model is incomplete there. Remove it, "
                        "then start the run again that has it in its workspace: it sends it."
                    )
                _replace(model, copy)
        if is_adapter(model):
            self.fetch_model(named_base(model))

    def send_file(self, path: Path) -> None:
        """Send one file of the workspace."""
        if not self._store.send(path, self._name(path)):
            raise ArtifactsError(f"{path}: the file is gone. Run again.")

    def fetch_file(self, path: Path) -> None:
        """Fetch one file, if it is in the store."""
        if (content := self._store.read(self._name(path))) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)

    def fetch_result(self, output: Path) -> None:
        """Fetch the result of a training, unless it is here, or the figures and errors of one without.

        Nothing is fetched of one that is under way, or of which this machine has checkpoints.
        """
        name, own = self._name(output), whole_files(output)
        if read_manifest(output) is not None:
            return
        names = self._store.listing(name)
        if stored_copy.is_finished(names):
            self._fetch_whole(output)
        elif names and not stored_copy.newest_step(own) and self._store.read(self._claim(output)) is None:
            clear_failures(output)  # of an earlier attempt
            self._fetch_as(name, output, stored_copy.result_of)

    def send_result(self, output: Path) -> None:
        """Send a finished training, unless it is there."""
        manifest = output / MANIFEST_NAME
        if manifest.exists() and self._store.read(self._name(manifest)) != manifest.read_bytes():
            self._send(output, stored_copy.to_send)
            _remove_others(self._store, self._name(output), stored_copy.to_send(output))

    @contextmanager
    def training(self, output: Path) -> Iterator[None]:
        """Work on a training: from the newest checkpoint there is, which this machine alone continues.

        Checkpoints and figures are sent while it trains, and what there is at the end; while it trains, the
        store may be away for any time. Nothing is fetched if this machine has the newest. If another
        machine takes the training over, because this one seemed dead, this process is asked to stop.

        Raises:
            InterruptedRunError: this process was asked to stop.
        """
        name = self._name(output)
        with claimed(self._store, self._claim(output), self._tell, on_loss=self._taken_over) as claim:
            fetched, pruned = self._fetch_newest(output), list[list[str]]()

            def prune() -> None:
                kept = stored_copy.to_send(output)
                if not claim.is_lost and pruned != [kept] and all(map(mirror.has_sent, kept)):
                    _remove_others(self._at_once, name, kept)
                    pruned[:] = [kept]

            mirror = Mirror(
                self._at_once,
                name,
                output,
                Sides(sent=stored_copy.to_send),
                every_s=_CHECKPOINTS_EVERY_S,
                slice_s=inf,  # a checkpoint that was begun is sent to its end
                patience_s=self._away_s,
                may_send=lambda: not claim.is_lost,
                after=prune,
                tell=self._tell,
            )
            mirror.adopt(fetched)
            with mirror:
                yield

    @contextmanager
    def working_on(self, directory: Path) -> Iterator[None]:
        """Work on something else that one machine at a time should do."""
        with claimed(self._store, self._claim(directory), self._tell, on_loss=self._taken_over):
            yield

    def _taken_over(self) -> None:
        self._tell("warning: another machine has taken this work over; stopping here")
        interruption.request(signal.SIGTERM)

    def _fetch_newest(self, output: Path) -> list[str]:
        """Returns what was fetched."""
        name = self._name(output)
        names, own = self._store.listing(name), whole_files(output)
        newest, own_newest = stored_copy.newest_step(names), stored_copy.newest_step(own)
        if stored_copy.is_finished(own) or not (stored_copy.is_finished(names) or newest > own_newest):
            return []
        if not self._fetch_whole(output):
            return []
        if not stored_copy.is_finished(names):
            self._tell(f"continues from the checkpoint of step {newest:,} in {self._store.url}")
        return whole_files(output)

    def _fetch_whole(self, output: Path) -> bool:
        """Put the copy of a training in the place of what is here, if it holds what its seals say."""
        name, copy = self._name(output), _beside(output)
        self._fetch_as(name, copy, stored_copy.to_continue)
        if stored_copy.is_whole(copy):
            _replace(output, copy)
            return True
        self._tell(f"warning: {self._store.url}/{name} is incomplete and is not used")
        shutil.rmtree(copy, ignore_errors=True)
        return False

    @contextmanager
    def dealing(self, folder: Path, model: Path) -> Iterator[IsBehind]:
        """elsewhere.Exchange through the store; the shards of earlier runs are removed from it."""
        self.send_model(model)
        name = self._name(folder)
        parent = name.rpartition("/")[0]
        old = [each for each in self._store.listing(parent) if not f"{parent}/{each}".startswith(f"{name}/")]
        self._store.remove(f"{parent}/{each}" for each in old)
        sides = Sides(shard_sides.dealt, shard_sides.of_workers)
        mirror = Mirror(
            self._at_once,
            name,
            folder,
            sides,
            patience_s=min(_END_S, self._away_s),
            needs_last=False,  # all rows are here
            away_s=self._away_s,
            tell=self._tell,
        )
        self._patience.keep_on(mirror.round)  # a worker that finds nothing takes it for the end
        with mirror:
            yield mirror.is_behind

    @contextmanager
    def working(self, task: str, folder: str, number: int) -> Iterator[ShardFolder]:
        """This machine's copy of the folder of a dealer, for worker `number`; it is removed at the end."""
        scratch = self._workspace.scratch(task)
        for old in scratch.glob(f"copy-{number}-*"):  # of a worker that was killed
            shutil.rmtree(old, ignore_errors=True)
        copy = scratch / f"copy-{number}-{folder}"  # apart: the dealer may be on the same machine
        sides = Sides(
            lambda directory: shard_sides.done(directory, number),
            lambda names: shard_sides.ordered(names, number),
        )

        def end_if_removed() -> None:
            if copy.is_dir() and "work.json" not in mirror.names:
                ShardFolder(copy).end()  # the dealer has gone on to other shards

        mirror = Mirror(
            self._at_once,
            self._name(scratch / folder),
            copy,
            sides,
            needs_last=False,  # at its end the dealer has all rows
            away_s=self._away_s,
            after=end_if_removed,
            tell=self._tell,
        )
        self._patience.keep_on(mirror.round)
        try:
            with mirror:
                yield ShardFolder(copy, mirror.is_behind)
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    @property
    def _patience(self) -> Patience:
        return Patience(self._away_s, self._tell)

    def _send(self, directory: Path, sent: Callable[[Path], list[str]]) -> None:
        Mirror(self._store, self._name(directory), directory, Sides(sent=sent)).round()

    def _fetch_as(self, name: str, directory: Path, fetched: Callable[..., list[str]]) -> None:
        Mirror(self._store, name, directory, Sides(fetched=fetched)).round()

    def _claim(self, directory: Path) -> str:
        return f"{self._name(directory)}.claim"

    def _fingerprint(self, model: Path) -> bytes:
        return model_fingerprint(model, self._workspace.fingerprints_on(socket.gethostname())).encode()

    def _training_of(self, model: Path) -> Path | None:
        """The training whose result a model is, if it is one's."""
        output = model.parent
        is_result = output == self._workspace.training(output.name) and model.name == MODEL_NAME
        return output if is_result else None

    def _is_ours(self, path: Path) -> bool:
        return path.is_relative_to(self._workspace.directory)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._workspace.directory).as_posix()

    def _whole(self, model: Path) -> str:
        """Beside a model: its fingerprint, written last."""
        return f"{self._name(model)}.whole"


def _remove_others(store: Store, name: str, kept: Collection[str]) -> None:
    """Remove from a directory's copy what this machine has removed, such as old checkpoints and errors."""
    gone = [each for each in store.listing(name) if each not in kept]
    store.remove(f"{name}/{each}" for each in gone)


def _beside(directory: Path) -> Path:
    """Where a copy is made that is to replace a directory once it is whole; empty."""
    copy = directory.with_name(f"{directory.name}.fetched{PARTIAL}")
    shutil.rmtree(copy, ignore_errors=True)
    return copy


def _replace(directory: Path, copy: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    copy.rename(directory)
