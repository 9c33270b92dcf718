"""Which rows a run has before any is revised: prompts, responses, rewards, and the thresholds on them."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from figa_core.config.decisions import Always, Within, nothing, rows
from figa_core.config.section import EMPTY_IS_A_VALUE, Section
from figa_core.config.server import ServerConfig
from figa_core.config.serving import ServingConfig
from figa_core.config.values import (
    TOKENS_MAX,
    EngineName,
    Name,
    label_name,
    one_line,
    quantile_or_number,
    template_variables,
)
from figa_core.config.vllm import VllmConfig
from figa_core.inference.engine import AUTO

StopText = Annotated[str, Field(min_length=1, max_length=200)]
Threshold = Annotated[float | str, AfterValidator(quantile_or_number)]
"""A raw reward, or "q0.3": that quantile of the run's own scores."""


class WorkspaceConfig(Section):
    """Where everything of this workspace is kept: database, journal, shards, trainings, report."""

    path: Path = nothing(..., "Directory of the workspace; created when missing.")
    name: Annotated[str, AfterValidator(one_line)] = nothing(
        "figa", "Shown in flow-run names and in the report."
    )
    note: str = nothing("", "Shown in the report; what a reader should know.")
    lease_timeout_s: float = nothing(0.0, "Seconds to wait for a workspace that another run holds.", ge=0)


class PromptsConfig(Section):
    """The file of prompts, and which of its fields mean what."""

    path: Path = rows(
        ...,
        "JSONL, a JSON array (each also as .gz) or Parquet, a prompt per row; or a directory of such files.",
        Within("prompts"),
    )
    prompt_field: Name = rows("prompt", "Field with plain text, or a list of chat messages.", Always())
    reference_field: str | None = rows(
        "reference", 'Field with the reference answer Y, which a row may lack; "none" for no field.', Always()
    )
    type_field: str | None = rows(
        None, 'Field with the type of a prompt, by which results can be told apart; "none" for no field.'
    )
    # An empty one was always the same as none, and is part of the id of runs that have it.
    system_prompt: str | None = rows(
        None, 'Put before prompts that are plain text; "none" for nothing.', EMPTY_IS_A_VALUE, Always()
    )
    held_out_share: float = rows(0.1, "Share of prompts kept for evaluation only.", Always(), ge=0, lt=1)
    max_prompt_tokens: int = rows(
        2048, "Longer prompts are left out, with the reason.", Always(), ge=1, le=TOKENS_MAX
    )
    limit: int | None = rows(None, 'Read at most this many rows; "none" for all.', Always(), ge=1)


class SamplingConfig(Section):
    """How tokens are drawn, beyond temperature and top_p. An engine that cannot do it refuses."""

    top_k: int = rows(
        0,
        "Sample from this many of the most likely tokens; 0 for all.",
        Within("generator"),
        ge=0,
        le=TOKENS_MAX,
    )
    min_p: float = rows(
        0.0,
        "Leave out tokens that are less likely than this share of the most likely one.",
        Within("generator"),
        ge=0,
        le=1,
    )
    repetition_penalty: float = rows(
        1.0,
        "Above 1, tokens of the prompt and the response become less likely.",
        Within("generator"),
        gt=0,
        le=10,
    )
    stop: tuple[StopText, ...] = rows(
        (),
        "Texts that end a response, and are not part of it, such as a question of the user.",
        Within("generator"),
    )


class GenerationConfig(Section):
    """How the model to align is sampled."""

    model: Path = rows(..., "Hugging Face model directory of the model to align.", Within("generator"))
    engine: EngineName = nothing(
        AUTO, "vllm, transformers, server, or auto: vllm or transformers, whichever finishes sooner."
    )
    samples_per_prompt: int = rows(1, "Samples of every training prompt.", Always(), ge=1, le=64)
    temperature: float = rows(1.0, "0 is greedy.", Within("generator"), ge=0)
    top_p: float = rows(
        1.0, "Sample from the most likely tokens of this total probability.", Within("generator"), gt=0, le=1
    )
    sampling: SamplingConfig = rows(SamplingConfig(), "How tokens are drawn, beyond temperature and top_p.")
    max_tokens: int = rows(
        512, "Longest response, in tokens, thoughts included.", Within("generator"), ge=1, le=TOKENS_MAX
    )
    thinking: Literal["off", "keep", "cut"] = rows(
        "keep",
        "Of a model that thinks before it answers: off asks it not to. Otherwise its thoughts are shown to "
        "nobody; for the training, keep puts them back before the answers, and cut leaves them out.",
    )
    chat_template_kwargs: Annotated[dict[str, Any], AfterValidator(template_variables)] = rows(
        {}, "Given to the chat template besides the messages, such as reasoning_effort.", Within("generator")
    )
    seed: int = rows(0, "Change it to sample anew.", Within("generator"), ge=0)
    rows_per_shard: int = nothing(2000, "Rows made durable together.", ge=1)
    gpu_memory_share: float = nothing(0.9, "vLLM's gpu_memory_utilization; 0.2 on CPU.", gt=0, le=1)
    workers: Annotated[int, Field(ge=1, le=256)] | None = nothing(
        None, 'Runs on the pool "gpu" that generate and score, at most; "none" for this process.'
    )
    vllm: VllmConfig = nothing(VllmConfig(), "How vLLM uses the GPUs of this machine.")
    server: ServerConfig = nothing(ServerConfig(), 'vLLM servers that have the model, for engine = "server".')
    serving: ServingConfig = nothing(ServingConfig(), "Where the run's own servers are, if it has some.")


class RewardConfig(Section):
    """The reward model, a sequence classifier; the raw logit of its label is the reward."""

    model: Path = rows(..., "Hugging Face model directory of the reward model.", Within("scorer"))
    engine: EngineName = nothing(
        AUTO, "vllm, transformers, server, or auto: vllm or transformers, whichever finishes sooner."
    )
    max_length: int = rows(
        2048, "Longer texts lose their beginning, in tokens.", Within("scorer"), ge=8, le=TOKENS_MAX
    )
    tokens_per_batch: int = nothing(16_384, "Padded tokens of one forward pass.", ge=64)
    gpu_memory_share: float = nothing(0.9, "vLLM's gpu_memory_utilization; 0.2 on CPU.", gt=0, le=1)
    label: Annotated[int | str, AfterValidator(label_name)] | None = rows(
        None,
        'Of a model with several labels: the name or the number of the one that is the reward; "none" for '
        "the only one.",
        Within("scorer"),
    )
    chat_template: Path | None = rows(
        None, 'Jinja file in the place of the model\'s chat template; "none" for its own.', Within("scorer")
    )
    plain_template: bool = nothing(
        False, "Rate in a plain form where the model brings no chat template; refused otherwise."
    )
    vllm: VllmConfig = nothing(VllmConfig(), "How vLLM uses the GPUs of this machine.")
    server: ServerConfig = nothing(ServerConfig(), 'vLLM servers that have the model, for engine = "server".')


class FilterConfig(Section):
    """Which responses are worth fixing (paper: R(Ŷ) < η1, R(Y) > η2, R(Y) − R(Ŷ) > η3)."""

    response_reward_below: Threshold = rows(1.0, "η1: a number, or a quantile of R(Ŷ) ('q0.7').", Always())
    reference_reward_above: Threshold = rows(3.0, "η2: a number, or a quantile of R(Y).", Always())
    reward_gap_above: Threshold = rows(3.5, "η3: a number, or a quantile of R(Y) − R(Ŷ).", Always())
    samples_kept: Literal["lowest", "all"] = rows("lowest", "Of several samples that pass.", Always())
    reward: Name | None = rows(
        None, 'One of [[rewards]] by its name; "none" for all of them, combined.', Within("scorer")
    )


class AdmissionConfig(Section):
    """The guard on revisions: one that does not raise the reward is left out."""

    reward_gain_above: float | None = rows(0.0, 'R(Ỹ) − R(Ŷ) must exceed it; "none" admits all.', Always())
    reward: Name | None = rows(
        None,
        'One of [[rewards]], or "combined", which is also the reward of the pairs trained on; "none" for '
        "that of [filter].",
        Within("scorer"),
    )
