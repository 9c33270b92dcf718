"""Stage train: the finished trainings and their models."""

from dataclasses import dataclass

from figa_core.storage.database import Database, as_row, insert_rows


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training; `parent_model` is a fingerprint."""

    training_id: str
    run_id: str
    objective: str
    shard_set_id: str
    parent_model: str
    directory: str
    steps: int
    seconds: float


def save_training(database: Database, training: Training, fingerprint: str) -> None:
    """Record a finished training and its model, which has this fingerprint."""
    model = {
        "fingerprint": fingerprint,
        "directory": training.directory,
        "training_id": training.training_id,
        "parent": training.parent_model,
    }
    with database.transaction() as connection:
        insert_rows(connection, "trainings", [as_row(training)])
        insert_rows(connection, "models", [model])


def trainings_of(database: Database, run_id: str, shard_set_id: str | None) -> list[str]:
    """The ids of the trainings that a run has recorded, or another run on the same shard set."""
    found = database.fetch(
        "SELECT training_id FROM trainings WHERE run_id = $run OR shard_set_id = $shards",
        run=run_id,
        shards=shard_set_id,
    )
    return [training_id for (training_id,) in found]
