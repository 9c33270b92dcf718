"""The settings of one run: frozen sections of about ten fields, besides tables; `file.py` reads the TOML.

A task gets the section that it needs, and functions below it get plain values; no numerical code takes a
config object. The descriptions also make the form in the Prefect UI.
"""

from pydantic import Field, model_validator

from figa_core.config.alarms import AlarmsConfig
from figa_core.config.compare import CompareConfig as CompareConfig
from figa_core.config.compare import MethodConfig as MethodConfig
from figa_core.config.grader import GraderConfig
from figa_core.config.harness import HarnessConfig as HarnessConfig
from figa_core.config.optimization import CheckpointsConfig as CheckpointsConfig
from figa_core.config.optimization import HeldOutConfig as HeldOutConfig
from figa_core.config.optimization import LoraConfig as LoraConfig
from figa_core.config.optimization import OptimizerConfig as OptimizerConfig
from figa_core.config.optimization import ScheduleConfig as ScheduleConfig
from figa_core.config.pairwise import PairwiseJudgeConfig as PairwiseJudgeConfig
from figa_core.config.revision import (
    RevisionBatchesConfig,
    RevisionConfig,
    RevisionPromptConfig,
    SpendingConfig,
)
from figa_core.config.rewards import JudgeRewardConfig as JudgeRewardConfig
from figa_core.config.rewards import ModelRewardConfig as ModelRewardConfig
from figa_core.config.rewards import ProgramRewardConfig as ProgramRewardConfig
from figa_core.config.rewards import Rewards
from figa_core.config.rows import (
    AdmissionConfig,
    FilterConfig,
    GenerationConfig,
    PromptsConfig,
    RewardConfig,
    WorkspaceConfig,
)
from figa_core.config.section import Section
from figa_core.config.server import ServerConfig as ServerConfig
from figa_core.config.storage import StorageConfig
from figa_core.config.tracking import TrackingConfig as TrackingConfig
from figa_core.config.training import EvaluationConfig, LossConfig, TrainingConfig, WeightingConfig


class PipelineConfig(Section):
    """Everything one run needs. `flows/checks/settings.py` checks whether settings fit each other.

    Either `reward` is given, or `rewards` has at least one; `tasks/rewards.py` says who uses which.
    """

    workspace: WorkspaceConfig
    storage: StorageConfig = StorageConfig()
    prompts: PromptsConfig
    generation: GenerationConfig
    reward: RewardConfig | None = Field(None, description="The reward model, if that is the only reward.")
    rewards: Rewards = Field((), description="Several rewards: models, programs and judges.")
    filter: FilterConfig = FilterConfig()
    revision: RevisionConfig
    revision_prompt: RevisionPromptConfig = RevisionPromptConfig()
    revision_batches: RevisionBatchesConfig = RevisionBatchesConfig()
    spending: SpendingConfig = SpendingConfig()
    admission: AdmissionConfig = AdmissionConfig()
    weighting: WeightingConfig = WeightingConfig()
    grader: GraderConfig = GraderConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    compare: CompareConfig = CompareConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _with_a_reward(self) -> "PipelineConfig":
        if problem := reward_problem(self.reward, self.rewards):
            raise ValueError(problem)
        return self


def reward_problem(single: object, listed: object) -> str | None:
    """What is wrong if neither or both of `[reward]` and `[[rewards]]` are given."""
    if single and listed:
        return "reward: there is also a list of [[rewards]]; make it one of them, or remove one of the two"
    return None if single or listed else "reward: missing; add it, or a list of [[rewards]]"
