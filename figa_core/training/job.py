"""The definition of a training, and the job file that the ranks read.

`TrainingSpec` is the request of a person or an automation: the parameters of `train-model`, the payload of
the event for a finished dataset, and the basis of a training's id. `TrainingJob` adds what follows from it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from figa_core.config import AlarmsConfig, LossConfig, PipelineConfig, TrackingConfig, TrainingConfig
from figa_core.config.decisions import settings_of, values_in_id
from figa_core.config.section import Section
from figa_core.config.storage import Url
from figa_core.models.adapter import underlying
from figa_core.models.dropout import has_dropout
from figa_core.training.job_files import JobFiles, not_a_job
from figa_core.training.objectives.registry import make_objective, objective_named
from figa_core.training.schedule import learning_rate_at

_SECTIONS: dict[str, type[Section]] = {
    "loss": LossConfig,
    "training": TrainingConfig,
    "alarms": AlarmsConfig,
}
_BECOME_STEPS = ("epochs", "max_steps")


@dataclass(frozen=True, slots=True)
class Levers:
    """Optimizations of a step, which can be switched off to compare; the gradient is equal to rounding.

    Attributes:
        sparse_head: project to the vocabulary only at tokens with a non-zero weight.
        tail_cut: drop the tokens after a sequence's last such token, and sequences without one.
        packing: put sequences one after another into one row, each attending to itself only, instead of
            padded rows of similar length. Models that cannot keep them apart get padded rows.
    """

    sparse_head: bool = True
    tail_cut: bool = True
    packing: bool = True


class TrainingSpec(Section):
    """`shards` is the directory of a complete shard set, `model` the Hugging Face directory to start from.

    `pairs_limit`: train on this many pairs of the set, drawn by the training's seed (`batches.drawn_pairs`);
    None for all. `artifacts` is the store of a workspace that the machine that trains does not see.
    """

    shards: Path
    model: Path
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    tracking: TrackingConfig = TrackingConfig()
    artifacts: Url = None
    pairs_limit: int | None = Field(default=None, ge=1)

    def settings_in_id(self) -> dict[str, Any]:
        """The settings in a training's id, by name, but for the epochs: the id has the number of steps.

        Raises:
            EngineError: `training.prefix_sharing` is true, and the model's config.json cannot be read.
        """
        settings = values_in_id(settings_of(self, *_SECTIONS))
        if self.pairs_limit is not None:
            settings["pairs_limit"] = self.pairs_limit
        if self._shares_dropout():
            settings["training.prefix_sharing"] = True
        return {name: value for name, value in settings.items() if name not in _BECOME_STEPS}

    def _shares_dropout(self) -> bool:
        """Whether answers share the random numbers of their beginnings because the setting insists."""
        if self.training.prefix_sharing is not True:
            return False
        lora = self.training.lora
        return (lora.rank is not None and lora.dropout > 0) or has_dropout(underlying(self.model))

    def parameters(self) -> dict[str, Any]:
        """The parameters of `train-model`, as JSON values."""
        return self.model_dump(mode="json")


def training_spec(config: PipelineConfig, shards: Path, objective: str) -> TrainingSpec:
    """The training of a run with this config on these shards."""
    return TrainingSpec(
        shards=shards,
        model=config.generation.model,
        loss=config.loss.model_copy(update={"objective": objective}),
        training=config.training,
        alarms=config.alarms,
        tracking=config.tracking,
        artifacts=config.storage.artifacts,
    )


class TrainingJob(JobFiles, TrainingSpec):
    """A training with nothing left to decide.

    Attributes:
        training_id: content id (`figa_core.ids.training_id`).
        output: directory of this training; a ``manifest.json`` in it means finished.
        steps: total number of optimizer steps.
        reference_log_probs: their directory (`reference_log_probs.py`), if the objective needs them.
        base_fingerprint: that of the model, if the result records it (LoRA).
    """

    training_id: str
    output: Path
    steps: int
    levers: Levers = Levers()
    reference_log_probs: Path | None = None
    base_fingerprint: str | None = None

    @field_validator("training")
    @classmethod
    def _settled(cls, training: TrainingConfig) -> TrainingConfig:
        for setting in ("learning_rate", "epochs", "pairs_per_step"):
            if isinstance(getattr(training, setting), str):
                raise ValueError(f"{setting} must be a number in a job")
        return training

    @property
    def objective(self) -> str:
        return self.loss.objective

    @property
    def prompt_words(self) -> str:
        """What the trained model must be asked with, after the prompt."""
        return objective_named(self.objective).prompt_words

    @property
    def pairs_per_step(self) -> int:
        """Pairs of one optimizer step over all ranks."""
        assert not isinstance(self.training.pairs_per_step, str)
        return self.training.pairs_per_step

    @property
    def learning_rate(self) -> float:
        """The highest of the training."""
        assert not isinstance(self.training.learning_rate, str)
        return self.training.learning_rate

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step; see `schedule.py`."""
        schedule = self.training.schedule
        return learning_rate_at(
            step,
            steps=self.steps,
            highest=self.learning_rate,
            kind=schedule.kind,
            warmup_share=schedule.warmup_share,
        )

    @classmethod
    def from_json(cls, text: str, *, source: str = "training job") -> "TrainingJob":
        """Read what `model_dump_json` wrote, in this release or an earlier one.

        Raises:
            TrainingError: the text is not a training job.
        """
        try:
            fields = json.loads(text)
            job = cls.model_validate(_in_sections(fields) if "loss" not in fields else fields)
            make_objective(job.loss)
        except (ValueError, TypeError, AttributeError) as error:
            raise not_a_job(source, error) from error
        return job


def _in_sections(fields: dict[str, Any]) -> dict[str, Any]:
    """Release 0.1 had no sections in a job: all settings were on one level."""
    sections: dict[str, Any] = {
        section: {name: fields[name] for name in kind.model_fields if name in fields}
        for section, kind in _SECTIONS.items()
    }
    settings = {name for section in sections.values() for name in section}
    return {name: value for name, value in fields.items() if name not in settings} | sections
