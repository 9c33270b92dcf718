"""The definition of a training by reinforcement learning: the file that its worker reads.

OUTPUT/job.json
OUTPUT/metrics.jsonl    a line a step, as of the other trainings, with the figures below
OUTPUT/worker.json      written by the worker at its end
OUTPUT/model/           a Hugging Face directory
OUTPUT/manifest.json    written last, by the run: its existence means finished (`training/checkpoints.py`)
"""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from figa_core.config.section import Section
from figa_core.config.tracking import TrackingConfig
from figa_core.config.training import DType
from figa_core.errors import TrainingError
from figa_core.files import write_whole
from figa_core.rl.job_rewards import JobReward, ModelReward, ProgramReward, with_rewards
from figa_core.rl.methods import RlMethod, rl_method
from figa_core.training.alarms import KL_FROM_BASE
from figa_core.training.job_files import JobFiles, not_a_job
from figa_core.training.objectives.figures import Figure

REWARD = Figure("reward", "reward of the samples")
KL = KL_FROM_BASE  # here of its own samples
ENTROPY = Figure("entropy", "entropy of the samples (nats per token)")
GENERATED = "generated_tokens"
SCORED = "scored_tokens"
UNSCORED = "unscored"
ALIKE = "samples_alike"
"""Samples whose prompt's samples all have the same reward, so that they teach nothing; with one sample of
each prompt, those of a step.
"""
PEAK = "peak_bytes"

# The prompts' digest has the variables of the template.
_SPEED = (
    "tracking",
    "template_variables",
    "output",
    "training_id",
    "prompts",
    "model",
    "rewards",  # those of the scorer, whose id has them
    "tokens_per_batch",
    "steps",
)


class RlJob(JobFiles, Section):
    """A training with nothing left to decide.

    Attributes:
        method: its name (`methods.py`).
        rewards: what is learnt from, in the order of their sum.
        template_variables: what the chat template got besides the messages of the prompts.
        stop: texts that end an answer; what a sample has after one has no part in its reward.
        prompts: a file of prompts (`prompts_file.py`).
        token_budget: the tokens to generate.
        samples_per_step: over all prompts of a step, a power of two.
        temperature: of the samples; nothing else bounds what is sampled.
        kl_weight: β, how strongly the model is held to its base.
        tokens_per_batch: of one forward pass; speed and memory only.
        steps: about how many there will be.
        tracking: experiment trackers that follow it.
    """

    method: str
    training_id: str
    output: Path
    model: Path
    rewards: tuple[JobReward, ...] = Field(min_length=1)
    template_variables: dict[str, Any] = Field(default_factory=dict)
    stop: tuple[str, ...] = ()
    prompts: Path
    token_budget: int = Field(ge=1)
    samples_per_prompt: int = Field(ge=1)
    samples_per_step: int = Field(ge=1)
    temperature: float = Field(gt=0)
    max_tokens: int = Field(ge=1)
    kl_weight: float = Field(ge=0)
    learning_rate: float = Field(gt=0)
    seed: int
    dtype: DType
    tokens_per_batch: int
    steps: int
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _of_any_age(cls, value: Any) -> Any:
        return with_rewards(value)

    @property
    def reward_models(self) -> tuple[ModelReward, ...]:
        return tuple(each for each in self.rewards if isinstance(each, ModelReward))

    @property
    def programs(self) -> tuple[ProgramReward, ...]:
        return tuple(each for each in self.rewards if isinstance(each, ProgramReward))

    @property
    def of_method(self) -> RlMethod:
        return rl_method(self.method)

    @property
    def objective(self) -> str:
        """What other trainings call their method."""
        return self.method

    @property
    def prompt_words(self) -> str:
        """The model is asked as its base is."""
        return ""

    @property
    def result_path(self) -> Path:
        return self.output / "worker.json"

    @property
    def job_path(self) -> Path:
        return self.output / "job.json"

    def write(self) -> Path:
        """Write the job into its directory; returns the file. Raises TrainingError if that fails."""
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            write_whole(self.job_path, self.model_dump_json(indent=2).encode())
        except OSError as error:
            raise TrainingError(f"{self.job_path}: cannot write: {error.strerror or error}.") from error
        return self.job_path

    def settings_in_id(self) -> dict[str, Any]:
        """The settings that decide the result, by name."""
        unused = set() if self.stop else {"stop"}
        found = self.model_dump(mode="json", exclude={*_SPEED, *unused})
        first, *others = self.rewards
        if isinstance(first, ModelReward) and not others:
            # The scorer's id has it too, but the ids of such trainings stay as they were.
            found["reward_max_length"] = first.max_length
        return found

    def scored_by(self, reward: ModelReward) -> str:
        """The name of the figure for the tokens that a reward model reads."""
        return SCORED if len(self.reward_models) == 1 else f"{SCORED}/{reward.name}"

    @classmethod
    def read(cls, path: Path) -> "RlJob":
        """Read what `write` wrote. Raises TrainingError if it cannot be read, or is no such job."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"), source=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise TrainingError(f"{path}: cannot read the training job: {error}.") from error

    @classmethod
    def from_json(cls, text: str, *, source: str) -> "RlJob":
        """Read what `model_dump_json` wrote. Raises TrainingError if the text is no such job."""
        try:
            job = cls.model_validate_json(text)
            rl_method(job.method)
        except ValidationError as error:
            raise not_a_job(source, error) from error
        return job
