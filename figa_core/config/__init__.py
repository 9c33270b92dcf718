"""The settings of one run: frozen sections of at most ten fields; `file.py` reads them from TOML.

A section reaches the task that needs it, plain values reach the functions below; nothing in the
numerics takes a config object. Their descriptions are also the form in the Prefect UI.
"""

from figa_core.config.revision import (
    ModelPrice,
    RevisionBatchesConfig,
    RevisionConfig,
    RevisionPromptConfig,
    SpendingConfig,
)
from figa_core.config.rows import (
    AdmissionConfig,
    FilterConfig,
    GenerationConfig,
    PromptsConfig,
    RewardConfig,
    WorkspaceConfig,
)
from figa_core.config.section import Section
from figa_core.config.training import EvaluationConfig, LossConfig, TrainingConfig, WeightingConfig

__all__ = [
    "AdmissionConfig",
    "EvaluationConfig",
    "FilterConfig",
    "GenerationConfig",
    "LossConfig",
    "ModelPrice",
    "PipelineConfig",
    "PromptsConfig",
    "RevisionBatchesConfig",
    "RevisionConfig",
    "RevisionPromptConfig",
    "RewardConfig",
    "SpendingConfig",
    "TrainingConfig",
    "WeightingConfig",
    "WorkspaceConfig",
]


class PipelineConfig(Section):
    """Everything one run needs. Whether settings fit each other is for `flows/checks/settings.py`."""

    workspace: WorkspaceConfig
    prompts: PromptsConfig
    generation: GenerationConfig
    reward: RewardConfig
    filter: FilterConfig = FilterConfig.model_validate({})
    revision: RevisionConfig
    revision_prompt: RevisionPromptConfig = RevisionPromptConfig.model_validate({})
    revision_batches: RevisionBatchesConfig = RevisionBatchesConfig.model_validate({})
    spending: SpendingConfig = SpendingConfig.model_validate({})
    admission: AdmissionConfig = AdmissionConfig.model_validate({})
    weighting: WeightingConfig = WeightingConfig.model_validate({})
    loss: LossConfig = LossConfig.model_validate({})
    training: TrainingConfig = TrainingConfig.model_validate({})
    evaluation: EvaluationConfig = EvaluationConfig.model_validate({})
