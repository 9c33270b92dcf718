"""What a report shows of each model besides its scores: whose weights it has, what its training changed."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from figa_core.config import PipelineConfig
from figa_core.errors import FigaError
from figa_core.inference.checkpoint import checkpoint_dtype
from figa_core.models.adapter import underlying
from figa_core.report.data import ModelChange
from figa_core.storage.evaluations import Evaluation, same_responses
from figa_core.storage.runs import Run
from figa_core.training.checkpoints import MODEL_NAME, TrainingManifest, read_manifest
from figa_core.training.objectives.registry import label_of, objective_names
from tasks.train import BASE_LABEL
from tasks.workspace import Workspace


class ModelChanges:
    """Looked up once for a report; `identity` and `change` are None if nothing is known of the label."""

    def __init__(
        self, workspace: Workspace, run: Run, rows: Iterable[Evaluation], config: PipelineConfig
    ) -> None:
        self._workspace, self._run, self._base = workspace, run, config.generation.model
        self._generators = {row.label: row.generator_id for row in rows}
        self._trainings = dict(_trainings(workspace, run))
        self._identities = self._find_identities()

    def identity(self, label: str) -> str | None:
        """The same for models with equal weights."""
        return self._identities.get(label)

    def directory(self, label: str) -> Path | None:
        """The directory of this model; None for a model that this run did not train."""
        return self._trainings[label][0] / MODEL_NAME if label in self._trainings else None

    def change(self, label: str) -> ModelChange | None:
        """What this model's training changed; None for a model that this run did not train."""
        if label not in self._trainings:
            return None
        directory, manifest = self._trainings[label]
        same, compared = self._same_responses(label)
        dtype, base_dtype = _dtype(directory / MODEL_NAME), _dtype(self._base)
        return ModelChange(
            updates=manifest.steps - manifest.skipped_steps - manifest.overflowed_steps,
            steps=manifest.steps,
            overflowed=manifest.overflowed_steps,
            relative=None if manifest.change is None else manifest.change.relative,
            same=same,
            compared=compared,
            dtype=dtype,
            base_dtype=base_dtype,
            rounding=_rounding(self._base, dtype, base_dtype),
        )

    def _same_responses(self, label: str) -> tuple[int, int]:
        base, trained = self._generators.get(BASE_LABEL), self._generators.get(label)
        if base is None or trained is None:
            return 0, 0
        return same_responses(self._workspace.database, self._run.run_id, base, trained)

    def _find_identities(self) -> Mapping[str, str]:
        """By label, the generator id of the first model with the same weights."""
        identities, by_weights = dict(self._generators), dict[str, str]()
        for label, (_, manifest) in self._trainings.items():
            if label not in identities:
                continue
            if manifest.change is not None and not manifest.change.changed and BASE_LABEL in identities:
                identities[label] = identities[BASE_LABEL]
            elif weights := _weights(manifest):
                identities[label] = by_weights.setdefault(weights, identities[label])
        return identities


def _trainings(workspace: Workspace, run: Run) -> Iterable[tuple[str, tuple[Path, TrainingManifest]]]:
    for objective in objective_names():
        if training_id := run.found.trainings.get(objective):
            directory = workspace.training(training_id)
            if manifest := read_manifest(directory):
                yield label_of(objective), (directory, manifest)


def _weights(manifest: TrainingManifest) -> str:
    return " ".join(value for name, value in manifest.files.items() if name.endswith(".safetensors"))


def _dtype(model: Path) -> str | None:
    try:
        return checkpoint_dtype(underlying(model))
    except FigaError:  # the directory is gone, and only the scores are left
        return None


def _rounding(base: Path, dtype: str | None, base_dtype: str | None) -> float | None:
    if dtype not in ("bfloat16", "float16") or dtype == base_dtype:
        return None
    from figa_core.training.change import rounding_change  # torch, seconds to import

    return rounding_change(base, dtype)
