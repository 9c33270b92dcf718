"""What is trained on the revisions, and how the models are judged."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from figa_core.config.decisions import Always, Decides
from figa_core.config.section import EMPTY_IS_A_VALUE, Section
from figa_core.config.values import TOKENS_MAX, ObjectiveName, function_spec

Scheme = Literal["levenshtein", "bag_of_words", "reward_scaled"]
DType = Literal["float32", "bfloat16"]
PairsPerStep = Annotated[int, Field(ge=1)] | Literal["auto"]

_SEED_MAX = 2**32 - 1  # a training takes the upper half of a 64-bit seed from it


class WeightingConfig(Section):
    """How edits become token classes."""

    scheme: Annotated[Scheme, Decides.MODELS, Always()] = Field(
        default="levenshtein",
        description="levenshtein: edited tokens; bag_of_words: tokens that the other side lacks; "
        "reward_scaled: levenshtein, each pair by its share of the reward gained.",
    )
    max_length: Annotated[int, Decides.MODELS, Always()] = Field(
        default=1024,
        ge=8,
        le=TOKENS_MAX,
        description="Longest training sequence (prompt and response), in tokens.",
    )
    pairs_per_shard: Annotated[int, Decides.NOTHING] = Field(
        default=10_000, ge=1, description="Pairs of one Parquet file."
    )


class LossConfig(Section):
    """The objective and its token weights (paper eq. 6–8)."""

    objective: Annotated[ObjectiveName, Decides.MODELS, Always()] = Field(
        default="figa",
        description="figa; sft on the references; sft_revised on the revisions; unlikelihood.",
    )
    alpha: Annotated[float, Decides.MODELS, Always()] = Field(
        default=1.0, ge=0, description="Weight of inserted, substituted and end-of-turn tokens of Ỹ."
    )
    beta: Annotated[float, Decides.MODELS, Always()] = Field(
        default=0.5, ge=0, description="Weight of deleted and substituted tokens of Ŷ, counted negative."
    )
    gamma: Annotated[float, Decides.MODELS, Always()] = Field(
        default=0.0, ge=0, description="Weight of the unchanged tokens of Ỹ."
    )
    negative_nll_max: Annotated[float | None, Decides.MODELS, Always()] = Field(
        default=0.6,
        gt=0,
        description='A negative token counts while its NLL is at most this; "none" for the bare formula.',
    )


class TrainingConfig(Section):
    """How the training runs; ZeRO stage, processes and batch size change speed, not the result."""

    learning_rate: Annotated[float, Decides.MODELS, Always()] = Field(
        default=1e-5, gt=0, description="Constant over the training."
    )
    epochs: Annotated[int, Decides.MODELS, Always()] = Field(
        default=3, ge=1, le=1_000_000, description="Passes over the pairs, unless max_steps says less."
    )
    max_steps: Annotated[int | None, Decides.MODELS, Always()] = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description='At most so many optimizer steps; "none" for as many as the epochs take.',
    )
    pairs_per_step: Annotated[PairsPerStep, Decides.MODELS, Always()] = Field(
        default=128,
        description="Pairs of one optimizer step, over all ranks; auto: at most 128, and so few that small "
        "data make enough updates.",
    )
    tokens_per_batch: Annotated[int, Decides.NOTHING] = Field(
        default=8192, ge=64, description="Token budget of one forward pass."
    )
    zero_stage: Annotated[Literal[1, 2, 3], Decides.NOTHING] = Field(
        default=2, description="DeepSpeed ZeRO: 3 also splits the weights over the ranks."
    )
    processes: Annotated[int, Decides.NOTHING] = Field(
        default=1, ge=1, le=1024, description="Ranks on this machine (torchrun --nproc_per_node)."
    )
    dtype: Annotated[DType, Decides.MODELS, Always()] = Field(
        default="bfloat16", description="Of weights and gradients."
    )
    checkpoint_steps: Annotated[int, Decides.NOTHING] = Field(
        default=100, ge=1, description="Optimizer steps between checkpoints."
    )
    seed: Annotated[int, Decides.MODELS, Always()] = Field(
        default=0, ge=0, le=_SEED_MAX, description="Of the order of the pairs."
    )


class EvaluationConfig(Section):
    """How base and trained models are judged, on held-out prompts only."""

    max_prompts: Annotated[int, Decides.JUDGEMENT, Always("evaluation_prompts")] = Field(
        default=500, ge=1, description="Held-out prompts that count, at most."
    )
    temperature: Annotated[float, Decides.JUDGEMENT, Always("evaluation_temperature")] = Field(
        default=0.0, ge=0, description="Of the evaluated responses."
    )
    verifier: Annotated[
        str | None, EMPTY_IS_A_VALUE, AfterValidator(function_spec), Decides.JUDGEMENT, Always()
    ] = Field(
        default=None,
        description="'module:function' taking (messages, text), returning 0 to 1; \"none\" for no verifier.",
    )
    baselines: Annotated[tuple[ObjectiveName, ...], Decides.MODELS, Always()] = Field(
        default=(), description="Objectives trained and judged beside the main one."
    )
