"""Which rows a run has before any is revised: prompts, responses, rewards, and the thresholds on them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from figa_core.config.decisions import Always, Decides, Within
from figa_core.config.section import EMPTY_IS_A_VALUE, Section
from figa_core.config.values import TOKENS_MAX, EngineName, Name, one_line, quantile_or_number
from figa_core.inference.engine import AUTO

Threshold = Annotated[float | str, AfterValidator(quantile_or_number)]
"""A raw reward, or "q0.3": that quantile of the run's own scores."""


class WorkspaceConfig(Section):
    """Where everything of this workspace is kept: database, journal, shards, trainings, report."""

    path: Annotated[Path, Decides.NOTHING] = Field(
        description="Directory of the workspace; created when missing."
    )
    name: Annotated[str, AfterValidator(one_line), Decides.NOTHING] = Field(
        default="figa", description="Shown in flow-run names and in the report."
    )
    note: Annotated[str, Decides.NOTHING] = Field(
        default="", description="Shown in the report; what a reader should know."
    )
    lease_timeout_s: Annotated[float, Decides.NOTHING] = Field(
        default=0.0, ge=0, description="Seconds to wait for a workspace another run holds."
    )


class PromptsConfig(Section):
    """The file of prompts, and which of its fields mean what."""

    path: Annotated[Path, Decides.ROWS, Within("prompts")] = Field(
        description="JSONL, a JSON array (each also as .gz) or Parquet, one prompt a row; or a directory of "
        "such files."
    )
    prompt_field: Annotated[Name, Decides.ROWS, Always()] = Field(
        default="prompt", description="Field with plain text, or a list of chat messages."
    )
    reference_field: Annotated[str | None, Decides.ROWS, Always()] = Field(
        default="reference",
        description='Field with the reference answer Y, which a row may lack; "none" for no field.',
    )
    # An empty one was always the same as none, and is part of the id of runs that have it.
    system_prompt: Annotated[str | None, EMPTY_IS_A_VALUE, Decides.ROWS, Always()] = Field(
        default=None, description='Put before prompts that are plain text; "none" for nothing.'
    )
    held_out_share: Annotated[float, Decides.ROWS, Always()] = Field(
        default=0.1, ge=0, lt=1, description="Share of prompts kept for evaluation only."
    )
    max_prompt_tokens: Annotated[int, Decides.ROWS, Always()] = Field(
        default=2048, ge=1, le=TOKENS_MAX, description="Longer prompts are left out, with the reason."
    )
    limit: Annotated[int | None, Decides.ROWS, Always()] = Field(
        default=None, ge=1, description='Read only so many rows; "none" for all.'
    )


class GenerationConfig(Section):
    """How the model to align is sampled."""

    model: Annotated[Path, Decides.ROWS, Within("generator")] = Field(
        description="Hugging Face model directory of the model to align."
    )
    engine: Annotated[EngineName, Decides.NOTHING] = Field(
        default=AUTO,
        description="vllm, transformers, or auto: whichever is done sooner, with vLLM's start counted.",
    )
    samples_per_prompt: Annotated[int, Decides.ROWS, Always()] = Field(
        default=1, ge=1, le=64, description="Samples of every training prompt."
    )
    temperature: Annotated[float, Decides.ROWS, Within("generator")] = Field(
        default=1.0, ge=0, description="0 is greedy."
    )
    top_p: Annotated[float, Decides.ROWS, Within("generator")] = Field(
        default=1.0, gt=0, le=1, description="Sample from the most likely tokens of this total probability."
    )
    max_tokens: Annotated[int, Decides.ROWS, Within("generator")] = Field(
        default=512, ge=1, le=TOKENS_MAX, description="Longest response, in tokens."
    )
    seed: Annotated[int, Decides.ROWS, Within("generator")] = Field(
        default=0, ge=0, description="Change it to sample anew."
    )
    rows_per_shard: Annotated[int, Decides.NOTHING] = Field(
        default=2000, ge=1, description="Rows made durable together."
    )
    gpu_memory_share: Annotated[float, Decides.NOTHING] = Field(
        default=0.9, gt=0, le=1, description="vLLM's gpu_memory_utilization; 0.2 on CPU."
    )


class RewardConfig(Section):
    """The reward model: a sequence classifier with one label; its raw logit is the reward."""

    model: Annotated[Path, Decides.ROWS, Within("scorer")] = Field(
        description="Hugging Face model directory of the reward model."
    )
    engine: Annotated[EngineName, Decides.NOTHING] = Field(
        default=AUTO,
        description="vllm, transformers, or auto: whichever is done sooner, with vLLM's start counted.",
    )
    max_length: Annotated[int, Decides.ROWS, Within("scorer")] = Field(
        default=2048, ge=8, le=TOKENS_MAX, description="Longer texts lose their beginning, in tokens."
    )
    tokens_per_batch: Annotated[int, Decides.NOTHING] = Field(
        default=16_384, ge=64, description="Padded tokens of one forward pass."
    )
    gpu_memory_share: Annotated[float, Decides.NOTHING] = Field(
        default=0.9, gt=0, le=1, description="vLLM's gpu_memory_utilization; 0.2 on CPU."
    )
    plain_template: Annotated[bool, Decides.NOTHING] = Field(
        default=False,
        description="Rate in a plain form where the model brings no chat template; refused otherwise.",
    )


class FilterConfig(Section):
    """Which responses are worth fixing (paper: R(Ŷ) < η1, R(Y) > η2, R(Y) − R(Ŷ) > η3)."""

    response_reward_below: Annotated[Threshold, Decides.ROWS, Always()] = Field(
        default=1.0, description="η1: a number, or a quantile of R(Ŷ) ('q0.7')."
    )
    reference_reward_above: Annotated[Threshold, Decides.ROWS, Always()] = Field(
        default=3.0, description="η2: a number, or a quantile of R(Y)."
    )
    reward_gap_above: Annotated[Threshold, Decides.ROWS, Always()] = Field(
        default=3.5, description="η3: a number, or a quantile of R(Y) − R(Ŷ)."
    )
    samples_kept: Annotated[Literal["lowest", "all"], Decides.ROWS, Always()] = Field(
        default="lowest", description="Of several samples that pass."
    )


class AdmissionConfig(Section):
    """The guard on revisions: one that does not raise the reward is left out."""

    reward_gain_above: Annotated[float | None, Decides.ROWS, Always()] = Field(
        default=0.0, description='R(Ỹ) − R(Ŷ) must exceed it; "none" admits all.'
    )
