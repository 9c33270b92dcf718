"""One training, fully described: what the ranks get as their only argument, as a JSON file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from figa_core.errors import TrainingError
from figa_core.records import Objective

DType = Literal["float32", "bfloat16"]


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


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Plain values only; `training_id` names the result (`figa_core.ids.training_id`).

    Attributes:
        model: Hugging Face directory of the model to start from.
        shards: directory of a complete shard set.
        output: directory of this training; its ``manifest.json`` means finished.
        pairs_per_step: pairs of one optimizer step over all ranks.
        tokens_per_batch: token budget of one forward pass of one rank, padding (if any) included.
    """

    training_id: str
    model: Path
    shards: Path
    output: Path
    objective: Objective
    alpha: float
    beta: float
    gamma: float
    negative_nll_max: float | None
    learning_rate: float
    steps: int
    pairs_per_step: int
    tokens_per_batch: int
    zero_stage: Literal[1, 2, 3] = 2
    processes: int = 1
    dtype: DType = "float32"
    checkpoint_steps: int = 100
    seed: int = 0
    levers: Levers = field(default_factory=Levers)

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
        fields = asdict(self)
        for name in ("model", "shards", "output"):
            fields[name] = str(fields[name])
        return json.dumps(fields, indent=2)

    @classmethod
    def from_json(cls, text: str, *, source: str = "training job") -> "TrainingJob":
        """Read what `to_json` wrote.

        Raises:
            TrainingError: the text is not a training job.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            for name in ("model", "shards", "output"):
                fields[name] = Path(fields[name])
            fields["objective"] = Objective(fields["objective"])
            fields["levers"] = Levers(**fields["levers"])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise TrainingError(
                f"{source}: not a training job ({error}); let the train stage write it."
            ) from error
