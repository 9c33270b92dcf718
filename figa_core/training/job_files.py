"""What the definitions of all trainings have in common: a training's files, and errors of its job file."""

from pathlib import Path

from pydantic import ValidationError

from figa_core.errors import TrainingError


class JobFiles:
    """The files in a training's directory, `output`."""

    output: Path

    @property
    def model_dir(self) -> Path:
        return self.output / "model"

    @property
    def metrics_path(self) -> Path:
        return self.output / "metrics.jsonl"


def not_a_job(source: str, error: Exception) -> TrainingError:
    """The error for a text that defines no training; all of pydantic's reasons are in one line."""
    reason = _reasons(error) if isinstance(error, ValidationError) else error
    return TrainingError(
        f"{source}: not a training job ({reason}). Start the training again, which writes the file."
    )


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    )
