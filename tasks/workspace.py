"""Where a workspace keeps what: the paths, and the store in them."""

from dataclasses import dataclass
from pathlib import Path

from figa_core.storage.store import Store


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace directory; see `figa_core.config.WorkspaceConfig`."""

    directory: Path

    @property
    def store(self) -> Store:
        """The database; opened only while a method of it runs."""
        return Store(self.directory)

    @property
    def journal(self) -> Path:
        """The reviser's append-only answer journal."""
        return self.directory / "journal" / "revise.jsonl"

    @property
    def fingerprints(self) -> Path:
        """File hashes already computed."""
        return self.directory / "fingerprints.json"

    def scratch(self, stage: str) -> Path:
        """Exchange files and logs of one stage."""
        return self.directory / "scratch" / stage

    def shards(self, shard_set_id: str) -> Path:
        """The directory of one shard set."""
        return self.directory / "shards" / shard_set_id
