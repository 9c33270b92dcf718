"""What of a workspace is copied to its store (`[storage] artifacts`), and when.

Without one, the machines share the workspace's disk, and nothing here is called. With one, the directory of
the workspace has the same path on every machine, and holds there what that machine needs. The run that holds
the workspace sends shard sets, and models that lie in it; the machine that trains sends checkpoints while it
trains, and the result. The content of each directory is sealed by a file that is sent last.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from figa_core.artifacts.claim import claimed
from figa_core.artifacts.mirror import Mirror, Sides
from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError
from figa_core.files import sealing_last, whole_files, write_whole
from figa_core.inference import shard_sides
from figa_core.inference.shard_folder import ShardFolder
from figa_core.shards.manifest import MANIFEST_NAME
from figa_core.training import stored_copy
from figa_core.training.checkpoints import MODEL_NAME, read_manifest
from figa_core.training.failures import clear_failures
from tasks.workspace import Workspace

_CHECKPOINTS_EVERY_S = 10.0
_Tell = Callable[[str], None]


class Artifacts:
    """The store of one workspace. Every method raises ArtifactsError if it fails."""

    def __init__(self, workspace: Workspace, store: Store, tell: _Tell = lambda _: None) -> None:
        """`tell` gets a line about what takes a while, and about a store that fails for a time."""
        self._workspace, self._store, self._tell = workspace, store, tell

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
            self._fetch(shards, lambda names: sealing_last(names, seal))

    def send_model(self, model: Path) -> None:
        """Send a model that lies in the workspace, unless it is there; others have it under the same path."""
        if not self._is_ours(model):
            return
        if (training := self._training_of(model)) is not None:
            self.send_result(training)
            return
        sizes = _sizes(model)
        if self._store.read(self._whole(model)) != sizes:
            self._send(model, whole_files)
            self._store.write(self._whole(model), sizes)

    def fetch_model(self, model: Path) -> None:
        """Fetch a model that lies in the workspace, unless it is here, or not in the store either."""
        if not self._is_ours(model):
            return
        if (training := self._training_of(model)) is not None:
            self.fetch_result(training)
            return
        sizes = self._store.read(self._whole(model))
        if sizes is not None and (not model.is_dir() or _sizes(model) != sizes):
            self._fetch(model, sorted)

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
        """Fetch the result of a training, unless it is here, or the figures and errors of one without."""
        names = self._store.listing(self._name(output))
        has_own = stored_copy.newest_step(whole_files(output)) > 0
        if read_manifest(output) is not None or (has_own and not stored_copy.is_finished(names)):
            return
        if names:
            clear_failures(output)  # of an earlier attempt
            self._fetch(output, stored_copy.result_of)

    def send_result(self, output: Path) -> None:
        """Send a finished training, unless it is there."""
        manifest = output / MANIFEST_NAME
        if manifest.exists() and self._store.read(self._name(manifest)) != manifest.read_bytes():
            self._send(output, stored_copy.to_send)
            self._prune(output)

    @contextmanager
    def training(self, output: Path) -> Iterator[None]:
        """Work on a training: from the newest checkpoint there is, which this machine alone continues.

        Checkpoints and figures are sent while it trains, and what there is at the end. Nothing is fetched if
        this machine has the newest.

        Raises:
            InterruptedRunError: this process was asked to stop while another one worked on it.
        """
        name = self._name(output)
        with claimed(self._store, f"{name}.claim", self._tell):
            self._fetch_newest(output)
            sides = Sides(sent=stored_copy.to_send)
            mirror = Mirror(self._store, name, output, sides, every_s=_CHECKPOINTS_EVERY_S, tell=self._tell)
            with mirror:
                yield
            self._prune(output)

    def _fetch_newest(self, output: Path) -> None:
        names, own = self._store.listing(self._name(output)), whole_files(output)
        if stored_copy.is_finished(own):
            return
        newest, own_newest = stored_copy.newest_step(names), stored_copy.newest_step(own)
        if stored_copy.is_finished(names) or newest > own_newest:
            if newest > own_newest:
                self._tell(f"continues from the checkpoint of step {newest:,} in {self._store.url}")
            shutil.rmtree(output, ignore_errors=True)
            self._fetch(output, stored_copy.to_continue)

    def _prune(self, output: Path) -> None:
        """Remove from the store what the machine that trained has removed: old checkpoints, old errors."""
        name, kept = self._name(output), set(stored_copy.to_send(output))
        gone = [each for each in self._store.listing(name) if each not in kept]
        self._store.remove(f"{name}/{each}" for each in gone)

    @contextmanager
    def dealing(self, folder: Path, model: Path) -> Iterator[None]:
        """elsewhere.Exchange through the store; the shards of earlier runs are removed from it."""
        self.send_model(model)
        name = self._name(folder)
        parent = name.rpartition("/")[0]
        old = [each for each in self._store.listing(parent) if not f"{parent}/{each}".startswith(f"{name}/")]
        self._store.remove(f"{parent}/{each}" for each in old)
        sides = Sides(shard_sides.dealt, shard_sides.of_workers)
        mirror = Mirror(self._store, name, folder, sides, tell=self._tell)
        mirror.round()  # a worker that finds nothing takes it for the end
        with mirror:
            yield

    @contextmanager
    def working(self, task: str, folder: str, number: int) -> Iterator[ShardFolder]:
        """This machine's copy of the folder of a dealer, for worker `number`; it is removed at the end."""
        scratch = self._workspace.scratch(task)
        copy = scratch / f"copy-{number}-{folder}"  # apart: the dealer may be on the same machine
        sides = Sides(
            lambda directory: shard_sides.done(directory, number),
            lambda names: shard_sides.ordered(names, number),
        )
        mirror = Mirror(self._store, self._name(scratch / folder), copy, sides, tell=self._tell)
        mirror.round()
        try:
            with mirror:
                yield ShardFolder(copy)
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def _send(self, directory: Path, sent: Callable[[Path], list[str]]) -> None:
        Mirror(self._store, self._name(directory), directory, Sides(sent=sent)).round()

    def _fetch(self, directory: Path, fetched: Callable[..., list[str]]) -> None:
        Mirror(self._store, self._name(directory), directory, Sides(fetched=fetched)).round()

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
        """Beside a model: the sizes of its files, written last."""
        return f"{self._name(model)}.whole"


def _sizes(model: Path) -> bytes:
    sizes = {name: (model / name).stat().st_size for name in whole_files(model)}
    return json.dumps(sizes, sort_keys=True).encode()
