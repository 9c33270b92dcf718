"""The settings of one run: frozen sections of at most ten fields; `file.py` reads them from TOML.

A section reaches the task that needs it, plain values reach the functions below; nothing in the
numerics takes a config object. Their descriptions are also the form in the Prefect UI.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from figa_core.config.section import EMPTY_IS_A_VALUE, Section
from figa_core.config.values import (
    api_base_url,
    environment_variable,
    function_spec,
    not_blank,
    one_line,
    quantile_or_number,
)
from figa_core.records import Objective


class Engine(StrEnum):
    """Where a model runs. `auto` is the one that is done sooner, vLLM only where its environment exists."""

    AUTO = "auto"
    VLLM = "vllm"
    TRANSFORMERS = "transformers"


Threshold = Annotated[float | str, AfterValidator(quantile_or_number)]
"""A raw reward, or "q0.3": that quantile of the run's own scores."""

DType = Literal["float32", "bfloat16"]

OptionalRequestField = Literal["max_tokens", "stream"]

Name = Annotated[str, AfterValidator(not_blank)]

_SEED_MAX = 2**32 - 1  # a training takes the upper half of a 64-bit seed from it
_TOKENS_MAX = 10_000_000


class WorkspaceConfig(Section):
    """Where everything of this workspace is kept: database, journal, shards, trainings, report."""

    path: Path = Field(description="Directory of the workspace; created when missing.")
    name: Annotated[str, AfterValidator(one_line)] = Field(
        default="figa", description="Shown in flow-run names and in the report."
    )
    note: str = Field(default="", description="Shown in the report; what a reader should know.")
    lease_timeout_s: float = Field(
        default=0.0, ge=0, description="Seconds to wait for a workspace another run holds."
    )


class PromptsConfig(Section):
    """The file of prompts, and which of its fields mean what."""

    path: Path = Field(
        description="JSONL, a JSON array (each also as .gz) or Parquet, one prompt a row; or a directory of "
        "such files."
    )
    prompt_field: Name = Field(
        default="prompt", description="Field with plain text, or a list of chat messages."
    )
    reference_field: str | None = Field(
        default="reference",
        description='Field with the reference answer Y, which a row may lack; "none" for no field.',
    )
    # An empty one was always the same as none, and is part of the id of runs that have it.
    system_prompt: Annotated[str | None, EMPTY_IS_A_VALUE] = Field(
        default=None, description='Put before prompts that are plain text; "none" for nothing.'
    )
    held_out_share: float = Field(
        default=0.1, ge=0, lt=1, description="Share of prompts kept for evaluation only."
    )
    max_prompt_tokens: int = Field(
        default=2048, ge=1, le=_TOKENS_MAX, description="Longer prompts are left out, with the reason."
    )
    limit: int | None = Field(default=None, ge=1, description='Read only so many rows; "none" for all.')


class GenerationConfig(Section):
    """How the model to align is sampled."""

    model: Path = Field(description="Hugging Face model directory of the model to align.")
    engine: Engine = Field(
        default=Engine.AUTO,
        description="vllm, transformers, or auto: the one that is done sooner, vLLM's start included.",
    )
    samples_per_prompt: int = Field(default=1, ge=1, le=64, description="Samples of every training prompt.")
    temperature: float = Field(default=1.0, ge=0, description="0 is greedy.")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Sample from the most likely tokens of this total probability."
    )
    max_tokens: int = Field(default=512, ge=1, le=_TOKENS_MAX, description="Longest response, in tokens.")
    seed: int = Field(default=0, ge=0, description="Change it to sample anew.")
    rows_per_shard: int = Field(default=2000, ge=1, description="Rows made durable together.")
    gpu_memory_share: float = Field(
        default=0.9, gt=0, le=1, description="vLLM's gpu_memory_utilization; 0.2 on CPU."
    )


class RewardConfig(Section):
    """The reward model: a sequence classifier with one label; its raw logit is the reward."""

    model: Path = Field(description="Hugging Face model directory of the reward model.")
    engine: Engine = Field(
        default=Engine.AUTO,
        description="vllm, transformers, or auto: the one that is done sooner, vLLM's start included.",
    )
    max_length: int = Field(
        default=2048, ge=8, le=_TOKENS_MAX, description="Longer texts lose their beginning, in tokens."
    )
    tokens_per_batch: int = Field(default=16_384, ge=64, description="Padded tokens of one forward pass.")
    gpu_memory_share: float = Field(
        default=0.9, gt=0, le=1, description="vLLM's gpu_memory_utilization; 0.2 on CPU."
    )
    plain_template: bool = Field(
        default=False,
        description="Rate in a plain form where the model brings no chat template; refused otherwise.",
    )


class FilterConfig(Section):
    """Which responses are worth fixing (paper: R(Ŷ) < η1, R(Y) > η2, R(Y) − R(Ŷ) > η3)."""

    response_reward_below: Threshold = Field(
        default=1.0, description="η1: a number, or a quantile of R(Ŷ) ('q0.7')."
    )
    reference_reward_above: Threshold = Field(default=3.0, description="η2: a number, or a quantile of R(Y).")
    reward_gap_above: Threshold = Field(
        default=3.5, description="η3: a number, or a quantile of R(Y) − R(Ŷ)."
    )
    samples_kept: Literal["lowest", "all"] = Field(
        default="lowest", description="Of several samples that pass."
    )


class RevisionConfig(Section):
    """The LLM that revises, behind an OpenAI-compatible endpoint. The key comes from the environment."""

    base_url: Annotated[str, AfterValidator(api_base_url)] = Field(
        default="https://api.openai.com/v1", description="Any OpenAI-compatible endpoint."
    )
    model: Name = Field(description="The provider's model name.")
    api_key_env: Annotated[str, AfterValidator(environment_variable)] = Field(
        default="OPENAI_API_KEY", description="Name of the environment variable that holds the key."
    )
    requests_per_minute: float = Field(default=500, gt=0, description="What the provider permits.")
    tokens_per_minute: float = Field(
        default=200_000, gt=0, description="What the provider permits, prompt and answer."
    )
    max_concurrency: int = Field(
        default=256, ge=1, le=4096, description="Most calls under way; below it they follow latency × rate."
    )
    max_attempts: int = Field(default=5, ge=1, le=20, description="Attempts a row gets; a 429 uses up none.")
    timeout_s: float = Field(default=60, gt=0, le=86_400, description="Seconds for one request.")
    temperature: float | None = Field(
        default=0.0,
        ge=0,
        le=2,
        description='Of the reviser; 0 is greedy; "none" sends none, for models that take no temperature.',
    )
    max_tokens: int = Field(default=1024, ge=1, le=_TOKENS_MAX, description="Longest revision, in tokens.")


class RevisionPromptConfig(Section):
    """What the reviser is told, and which of its answers are revisions."""

    with_reference: Path | None = Field(
        default=None,
        description='Jinja2 template for rows with a reference; "none" for the built-in one.',
    )
    without_reference: Path | None = Field(
        default=None, description='The one for rows without a reference; "none" for the built-in one.'
    )
    structured_output: bool = Field(
        default=True, description="Ask for JSON; an endpoint that refuses is asked for plain text."
    )
    leave_out: tuple[OptionalRequestField, ...] = Field(
        default=(),
        description="Fields of the request that the endpoint does not take: max_tokens, stream. Without this "
        "the first refusal shows it. For temperature and JSON: temperature, structured_output.",
    )
    max_edit_share: float = Field(
        default=0.8, gt=0, le=1, description="Above this share of edited words an answer is a rewrite."
    )
    asked_again_max: int = Field(
        default=1, ge=0, le=5, description="Times an unfit answer is asked for again, with the reason."
    )


class RevisionBatchesConfig(Section):
    """How the rows are dealt to task runs, and how many may stay without an answer."""

    rows: int = Field(default=1000, ge=1, description="Rows of one task run.")
    failed_share_max: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of rows that may stay without an answer (failed for now, or over the budget) "
        "before the run ends Failed instead of going on to weigh and train; 0 for not one.",
    )
    refused_share_max: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share of rows that may be refused for good (a content filter, a prompt that is too "
        "long) before the run ends Failed.",
    )
    drain_s: float = Field(
        default=15.0, ge=0, description="Seconds for calls under way when the run is stopped."
    )
    shared_limit: str | None = Field(
        default=None,
        description="Name of Prefect limits shared by several runs, which `python -m deployments.limits` "
        'creates; "none" for limits of this run alone.',
    )


class ModelPrice(Section):
    """A model's price, as its provider states it."""

    usd_per_million_prompt_tokens: float = Field(ge=0, description="US dollars.")
    usd_per_million_completion_tokens: float = Field(ge=0, description="US dollars.")


class SpendingConfig(Section):
    """What the reviser's calls cost, and what a run may spend on them."""

    budget_usd: float | None = Field(
        default=None, gt=0, description='Hard cap on what this run\'s rows may cost; "none" for no cap.'
    )
    prices: dict[str, ModelPrice] = Field(
        default_factory=dict, description="By model name; a budget needs the price of revision.model."
    )


class AdmissionConfig(Section):
    """The guard on revisions: one that does not raise the reward is left out."""

    reward_gain_above: float | None = Field(
        default=0.0, description='R(Ỹ) − R(Ŷ) must exceed it; "none" admits all.'
    )


class WeightingConfig(Section):
    """How edits become token classes."""

    scheme: Literal["levenshtein", "bag_of_words", "reward_scaled"] = Field(
        default="levenshtein",
        description="levenshtein: edited tokens; bag_of_words: tokens that the other side lacks; "
        "reward_scaled: levenshtein, each pair by its share of the reward gained.",
    )
    max_length: int = Field(
        default=1024,
        ge=8,
        le=_TOKENS_MAX,
        description="Longest training sequence (prompt and response), in tokens.",
    )
    pairs_per_shard: int = Field(default=10_000, ge=1, description="Pairs of one Parquet file.")


class LossConfig(Section):
    """The objective and its token weights (paper eq. 6–8)."""

    objective: Objective = Field(
        default=Objective.FIGA,
        description="figa; sft on the references; sft_revised on the revisions; unlikelihood.",
    )
    alpha: float = Field(
        default=1.0, ge=0, description="Weight of inserted, substituted and end-of-turn tokens of Ỹ."
    )
    beta: float = Field(
        default=0.5, ge=0, description="Weight of deleted and substituted tokens of Ŷ, counted negative."
    )
    gamma: float = Field(default=0.0, ge=0, description="Weight of the unchanged tokens of Ỹ.")
    negative_nll_max: float | None = Field(
        default=0.6,
        gt=0,
        description='A negative token counts while its NLL is at most this; "none" for the bare formula.',
    )


class TrainingConfig(Section):
    """How the training runs; ZeRO stage, processes and batch size change speed, not the result."""

    learning_rate: float = Field(default=1e-5, gt=0, description="Constant over the training.")
    epochs: int = Field(
        default=3, ge=1, le=1_000_000, description="Passes over the pairs, unless max_steps says less."
    )
    max_steps: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description='At most so many optimizer steps; "none" for as many as the epochs take.',
    )
    pairs_per_step: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=128,
        description="Pairs of one optimizer step, over all ranks; auto: at most 128, and so few that small "
        "data make enough updates.",
    )
    tokens_per_batch: int = Field(default=8192, ge=64, description="Token budget of one forward pass.")
    zero_stage: Literal[1, 2, 3] = Field(
        default=2, description="DeepSpeed ZeRO: 3 also splits the weights over the ranks."
    )
    processes: int = Field(
        default=1, ge=1, le=1024, description="Ranks on this machine (torchrun --nproc_per_node)."
    )
    dtype: DType = Field(default="bfloat16", description="Of weights and gradients.")
    checkpoint_steps: int = Field(default=100, ge=1, description="Optimizer steps between checkpoints.")
    seed: int = Field(default=0, ge=0, le=_SEED_MAX, description="Of the order of the pairs.")


class EvaluationConfig(Section):
    """How base and trained models are judged, on held-out prompts only."""

    max_prompts: int = Field(default=500, ge=1, description="Held-out prompts that count, at most.")
    temperature: float = Field(default=0.0, ge=0, description="Of the evaluated responses.")
    verifier: Annotated[str | None, EMPTY_IS_A_VALUE, AfterValidator(function_spec)] = Field(
        default=None,
        description="'module:function' taking (messages, text), returning 0 to 1; \"none\" for no verifier.",
    )
    baselines: tuple[Objective, ...] = Field(
        default=(), description="Objectives trained and judged beside the main one."
    )


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
