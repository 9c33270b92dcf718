"""Where a workspace keeps what: the paths, and the database in them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from figa_core.errors import WorkspaceError
from figa_core.storage.database import Database


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace directory; see `figa_core.config.WorkspaceConfig`."""

    directory: Path

    @classmethod
    def of_shards(cls, shards: Path) -> "Workspace":
        """The one that a shard set is in."""
        return cls(shards.parent.parent)

    def check_writable(self) -> None:
        """Raises WorkspaceError if nothing can be stored here; for who holds no lease on it."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.logs):
                return
        except OSError as error:
            raise WorkspaceError(
                f"{self.directory}: cannot write to the workspace: {error.strerror}. Give one on a disk that "
                "this machine may write to."
            ) from error

    @property
    def database(self) -> Database:
        """The database; opened only while something reads or writes it."""
        return Database(self.directory / "figa.duckdb")

    @property
    def journal(self) -> Path:
        """The reviser's append-only answer journal."""
        return self.directory / "journal" / "revise.jsonl"

    @property
    def fingerprints(self) -> Path:
        """File hashes already computed."""
        return self.directory / "fingerprints.json"

    @property
    def logs(self) -> Path:
        """What child processes wrote."""
        return self.directory / "logs"

    @property
    def prefect(self) -> Path:
        """State of a Prefect server of our own, where none is configured."""
        return self.directory / "prefect"

    def scratch(self, stage: str) -> Path:
        """Exchange files of one stage; nothing in it outlives the stage."""
        return self.directory / "scratch" / stage

    def shards(self, shard_set_id: str) -> Path:
        """The directory of one shard set."""
        return self.directory / "shards" / shard_set_id

    def training(self, training_id: str) -> Path:
        """The directory of one training: checkpoints while it runs, then model, metrics and manifest."""
        return self.directory / "trainings" / training_id

    def templates(self, run_id: str) -> Path:
        """The reviser's instructions of one run, for a retry after others came with a new version."""
        return self.directory / "templates" / run_id

    def report(self, run_id: str) -> Path:
        """The report of one run."""
        return self.directory / "reports" / f"{run_id}.html"
