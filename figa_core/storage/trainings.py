"""Stage train: the trainings that are finished, and the models they made."""

from dataclasses import dataclass

from figa_core.storage.database import Database, insert_one


@dataclass(frozen=True, slots=True)
class Training:
    """A finished training, as the `trainings` table holds it; `parent_model` is a fingerprint."""

    training_id: str
    run_id: str
    objective: str
    shard_set_id: str
    parent_model: str
    directory: str
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Model:
    fingerprint: str
    directory: str
    training_id: str
    parent: str


def save_training(database: Database, training: Training, fingerprint: str) -> None:
    """Record a finished training and the model it made."""
    model = _Model(fingerprint, training.directory, training.training_id, training.parent_model)
    with database.transaction() as connection:
        insert_one(connection, "trainings", training)
        insert_one(connection, "models", model)
