"""What defines a training, in one place; and a training that is settled, as the ranks read it from a file.

`TrainingSpec` is what a person or an automation asks for: the parameters of `train-model`, the payload of the
event that a dataset is built, and the basis of a training's id. `TrainingJob` adds what follows from it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from figa_core.config import LossConfig, PipelineConfig, TrainingConfig
from figa_core.config.decisions import settings_of, values_in_id
from figa_core.config.section import Section
from figa_core.errors import TrainingError
from figa_core.training.objectives.registry import make_objective

_SECTIONS: dict[str, type[Section]] = {"loss": LossConfig, "training": TrainingConfig}
_BECOME_STEPS = ("epochs", "max_steps")


@dataclass(frozen=True, slots=True)
class Levers:
    """What makes a step cheap; each leaves the gradient unchanged to rounding and exists for comparison.

    Attributes:
        sparse_head: project to the vocabulary only at tokens with a non-zero weight.
        tail_cut: leave out what follows a sequence's last such token, and sequences without one.
        packing: sequences one after another in one row, each attending to itself alone, instead of padded
            rows of similar length. Models that cannot keep them apart get rows.
    """

    sparse_head: bool = True
    tail_cut: bool = True
    packing: bool = True


class TrainingSpec(Section):
    """A training.

    Attributes:
        shards: directory of a complete shard set.
        model: Hugging Face directory of the model to start from.
        loss: the objective and its settings.
        training: how it is trained.
    """

    shards: Path
    model: Path
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()

    def settings_in_id(self) -> dict[str, Any]:
        """The settings that a training's id hashes by name; epochs are in it as the number of steps."""
        settings = values_in_id(settings_of(self, *_SECTIONS))
        return {name: value for name, value in settings.items() if name not in _BECOME_STEPS}

    def parameters(self) -> dict[str, Any]:
        """The parameters of `train-model`, as JSON takes them."""
        return self.model_dump(mode="json")


def training_spec(config: PipelineConfig, shards: Path, objective: str) -> TrainingSpec:
    """What a run with this config asks for on its own shards."""
    return TrainingSpec(
        shards=shards,
        model=config.generation.model,
        loss=config.loss.model_copy(update={"objective": objective}),
        training=config.training,
    )


class TrainingJob(TrainingSpec):
    """A training with everything settled: how many steps, of how many pairs, and where it goes.

    Attributes:
        training_id: names the result (`figa_core.ids.training_id`).
        output: directory of this training; its ``manifest.json`` means finished.
        steps: optimizer steps in all.
        reference_log_probs: directory of those that the objective needs (`reference_log_probs.py`).
    """

    training_id: str
    output: Path
    steps: int
    levers: Levers = Levers()
    reference_log_probs: Path | None = None

    @field_validator("training")
    @classmethod
    def _settled(cls, training: TrainingConfig) -> TrainingConfig:
        if isinstance(training.pairs_per_step, str):
            raise ValueError("pairs_per_step must be a number by now")
        return training

    @property
    def objective(self) -> str:
        """Its name."""
        return self.loss.objective

    @property
    def pairs_per_step(self) -> int:
        """Pairs of one optimizer step over all ranks."""
        assert not isinstance(self.training.pairs_per_step, str)
        return self.training.pairs_per_step

    @property
    def model_dir(self) -> Path:
        """Where the trained Hugging Face model is put."""
        return self.output / "model"

    @property
    def metrics_path(self) -> Path:
        """One JSON line per step."""
        return self.output / "metrics.jsonl"

    def to_json(self) -> str:
        """The form that `from_json` reads."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str, *, source: str = "training job") -> "TrainingJob":
        """Read what `to_json` wrote, in this release or an earlier one.

        Raises:
            TrainingError: the text is not a training job.
        """
        try:
            fields = json.loads(text)
            job = cls.model_validate(_in_sections(fields) if "loss" not in fields else fields)
            make_objective(job.loss)
        except (ValueError, TypeError, AttributeError) as error:
            reason = _reasons(error) if isinstance(error, ValidationError) else error
            raise TrainingError(
                f"{source}: not a training job ({reason}); let the train stage write it."
            ) from error
        return job


def _in_sections(fields: dict[str, Any]) -> dict[str, Any]:
    """Release 0.1 had no sections in a job: all settings were side by side."""
    sections: dict[str, Any] = {
        section: {name: fields[name] for name in kind.model_fields if name in fields}
        for section, kind in _SECTIONS.items()
    }
    settings = {name for section in sections.values() for name in section}
    return {name: value for name, value in fields.items() if name not in settings} | sections


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    )
