"""The paths in a workspace, and its database."""

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
        """The workspace of a shard set."""
        return cls(shards.parent.parent)

    @classmethod
    def of_training(cls, output: Path) -> "Workspace":
        """The workspace of a training's directory."""
        return cls(output.parent.parent)

    def check_writable(self) -> None:
        """Raises WorkspaceError if nothing can be written; for callers without a lease."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.logs):
                return
        except OSError as error:
            raise WorkspaceError(
                f"{self.directory}: cannot write to the workspace: {error.strerror}. Choose one on a disk "
                "that this machine can write to."
            ) from error

    @property
    def database(self) -> Database:
        """The database; it is open only during a read or a write."""
        return Database(self.directory / "figa.duckdb")

    @property
    def network_permit(self) -> Path:
        """A file that says: the database may be opened although it lies on a network file system.

        A run with `storage.database_on_network` makes it, for the commands that have no settings.
        """
        return self.directory / "database-on-network"

    @property
    def journal(self) -> Path:
        """The reviser's append-only answer journal."""
        return self.directory / "journal" / "revise.jsonl"

    @property
    def fingerprints(self) -> Path:
        """The cache of file hashes."""
        return self.directory / "fingerprints.json"

    @property
    def annotations(self) -> Path:
        """What people say of changes: an SQLite file of its own (`figa_core/annotation/store.py`)."""
        return self.directory / "annotations.sqlite"

    def fingerprints_on(self, host: str) -> Path:
        """As `fingerprints`, of the files that a worker on another machine sees."""
        return self.directory / "fingerprints" / f"{host}.json"

    @property
    def logs(self) -> Path:
        """The logs of child processes."""
        return self.directory / "logs"

    @property
    def prefect(self) -> Path:
        """The state of our own Prefect server, if none is configured."""
        return self.directory / "prefect"

    @property
    def tracking(self) -> Path:
        """What experiment trackers write on this machine."""
        return self.directory / "tracking"

    @property
    def nodes_board(self) -> Path:
        """Where node 0 of a training calls the other nodes (`figa_core/training/nodes/board.py`)."""
        return self.directory / "nodes.json"

    def scratch(self, stage: str) -> Path:
        """Temporary files of one stage."""
        return self.directory / "scratch" / stage

    def shards(self, shard_set_id: str) -> Path:
        """The directory of one shard set."""
        return self.directory / "shards" / shard_set_id

    def training_log(self, objective: str, training_id: str) -> Path:
        """Of each training its own, because several of one objective may run at once."""
        return self.logs / f"train-{objective}-{training_id[-8:]}.log"

    def node_log(self, training: Path, node: int) -> Path:
        """Of one node's ranks of a training in this directory; node 0 has `training_log`."""
        return self.logs / f"train-{training.name[-8:]}-node{node}.log"

    def training(self, training_id: str) -> Path:
        """The directory of one training: checkpoints while it runs, then model, metrics and manifest."""
        return self.directory / "trainings" / training_id

    def sweep(self, sweep_id: str) -> Path:
        """The directory of one sweep of learning rates."""
        return self.directory / "sweeps" / sweep_id

    def trained_model(self, training_id: str) -> Path:
        """The directory of a finished training's model."""
        return self.training(training_id) / "model"

    def merged(self, fingerprint: str) -> Path:
        """The directory of the whole model that an adapter with this fingerprint is merged into."""
        return self.directory / "merged" / fingerprint[:32]

    def reward_form(self, name: str) -> Path:
        """The directory of a reward model in the form that engines load, if its own is another."""
        return self.directory / "reward-models" / name

    def templates(self, run_id: str) -> Path:
        """The reviser's instructions at the start of a run, for a retry after an upgrade changed them."""
        return self.directory / "templates" / run_id

    def report(self, run_id: str) -> Path:
        """The report of one run."""
        return self.directory / "reports" / f"{run_id}.html"

    def methods_report(self, run_id: str) -> Path:
        """The comparison of methods on the pairs of one run; beside it the same figures as JSON."""
        return self.directory / "reports" / f"{run_id}-methods.html"

    @property
    def studies(self) -> Path:
        """What `figa study` found out."""
        return self.directory / "studies"

    def verdicts(self, run_id: str) -> Path:
        """The verdicts on the models of one run, for programs."""
        return self.directory / "verdicts" / f"{run_id}.json"
