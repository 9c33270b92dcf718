"""The models that a run has judged, with their held-out scores, for the report and the verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figa_core.config import PipelineConfig
from figa_core.evaluation.verdict import Verdict
from figa_core.records import Split
from figa_core.report.comparison import Metric, verdict_on
from figa_core.report.data import ModelScores
from figa_core.storage.evaluations import Evaluation, evaluations_of, prompt_values
from figa_core.storage.responses import Samples
from figa_core.storage.runs import Run
from figa_core.training.checkpoints import MANIFEST_NAME
from figa_core.training.objectives.registry import label_of
from tasks.model_changes import ModelChanges
from tasks.train import BASE_LABEL
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class JudgedModels:
    """The base, the run's main model, and the others: baselines, and models evaluated separately.

    Without `change`, which takes longer; `changes` has it.
    """

    base: ModelScores | None
    main: ModelScores | None
    others: tuple[ModelScores, ...]
    changes: ModelChanges

    @property
    def trained(self) -> tuple[ModelScores, ...]:
        """All but the base; the main model first."""
        return self.others if self.main is None else (self.main, *self.others)

    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on each model but the base, by label."""
        return {model.label: verdict_on(self.base, model) for model in self.trained}


def judged_models(workspace: Workspace, run: Run, config: PipelineConfig) -> JudgedModels:
    """The models with a stored evaluation in this run."""
    rows = evaluations_of(workspace.database, run.run_id)
    changes = ModelChanges(workspace, run, rows, config)
    main = label_of(config.loss.objective)
    labels = [*map(label_of, config.evaluation.baselines), *(row.label for row in rows)]
    others = [label for label in dict.fromkeys(labels) if label not in (BASE_LABEL, main)]
    found = {
        label: _scores(workspace, run, config, rows, changes, label) for label in (BASE_LABEL, main, *others)
    }
    return JudgedModels(
        found[BASE_LABEL], found[main], tuple(model for o in others if (model := found[o])), changes
    )


def trained_model(workspace: Workspace, run: Run, objective: str) -> Path | None:
    """The directory of the objective's model in this run, if its training has finished."""
    training_id = run.found.trainings.get(objective)
    if training_id is None or not (workspace.training(training_id) / MANIFEST_NAME).is_file():
        return None
    return workspace.trained_model(training_id)


def _scores(
    workspace: Workspace,
    run: Run,
    config: PipelineConfig,
    rows: Sequence[Evaluation],
    changes: ModelChanges,
    label: str,
) -> ModelScores | None:
    values = {}
    for row in rows:
        if row.label == label and row.metric in tuple(Metric):
            most = config.evaluation.max_prompts
            samples = Samples(run.run_id, row.generator_id, Split.HELD_OUT, max_prompts=most)
            values[row.metric] = prompt_values(workspace.database, samples, row.scorer_id)
    if not values:
        return None
    directory = changes.directory(label)
    return ModelScores(
        label,
        values.get("reward", {}),
        values.get("verifier", {}),
        identity=changes.identity(label),
        directory=None if directory is None else str(directory),
    )
