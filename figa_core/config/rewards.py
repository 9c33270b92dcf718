"""The list `[[rewards]]`: reward models, programs and judges, each by the key that only it has.

    [[rewards]]
    name = "helpful"
    model = "models/reward"

    [[rewards]]
    name = "facts"
    program = "my_rewards:facts"
    fields = ["answer"]
    weight = 2.0

    [[rewards]]
    name = "tone"
    judge = "gpt-4.1"
    rubric = "Is the reply friendly?"

A single table `[reward]` is a list of one reward model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from figa_core.config.decisions import Within, nothing, rows
from figa_core.config.rows import RewardConfig
from figa_core.config.section import Section
from figa_core.config.values import (
    TOKENS_MAX,
    Name,
    SecretName,
    api_base_url,
    environment_variable,
    function_spec,
    one_line,
)

SINGLE = "reward"
"""The name of the reward model of a single table `[reward]`."""
COMBINED = "combined"
"""What all rewards together are called."""


def _free_name(name: str) -> str:
    if name == COMBINED:
        raise ValueError(f"{name!r} is what all rewards together are called; give another name")
    return one_line(name)


def _each_once(names: Sequence[str]) -> Any:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]!r} is listed twice; list each field once")
    return names


def _api_base_url(url: str | None) -> str | None:
    return None if url is None else api_base_url(url)


def _environment_variable(name: str | None) -> str | None:
    return None if name is None else environment_variable(name)


RewardName = Annotated[Name, AfterValidator(_free_name)]
_Fields = Annotated[tuple[Name, ...], AfterValidator(_each_once)]
_NAME = "Its name in other settings and in the report."
_WEIGHT = "Its share when all rewards are combined; below 0 for less of it, 0 to leave it out."
_FIELDS = (
    'What it gets besides messages and text: fields of the row in prompts.path, "reference" (Y), or "type".'
)


class ModelRewardConfig(RewardConfig):
    """A reward model; the settings are those of `[reward]`."""

    name: RewardName = nothing(..., _NAME)
    weight: float = rows(1.0, _WEIGHT, Within("scorer"))


class ProgramRewardConfig(Section):
    """A function of (messages, text, field=…), run in processes of its own.

    It returns a number, or NaN for "cannot say". What it raises, and what else it returns, costs a row its
    score and is counted; so does a row that takes too long, takes too much memory, or ends the process.
    """

    name: RewardName = nothing(..., _NAME)
    program: Annotated[str, AfterValidator(function_spec)] = rows(..., '"module:function".', Within("scorer"))
    fields: _Fields = rows((), _FIELDS, Within("scorer"))
    weight: float = rows(1.0, _WEIGHT, Within("scorer"))
    time_limit_s: float = nothing(10.0, "Seconds for one row.", gt=0, le=3600)
    memory_limit_mib: int = nothing(
        2048, "MiB of memory for a process with the module and one row, and what it starts.", ge=64
    )
    processes: int | None = nothing(
        None, 'Rows rated at once; "none" for one for each core, at most 8.', ge=1, le=256
    )


class JudgeEndpointConfig(Section):
    """Where a judge is asked, and how fast."""

    base_url: Annotated[str | None, AfterValidator(_api_base_url)] = nothing(
        None, 'Any OpenAI-compatible endpoint; "none" for revision.base_url.'
    )
    api_key_env: Annotated[str | None, AfterValidator(_environment_variable)] = nothing(
        None, 'Name of the environment variable that holds the key; "none" for the reviser\'s key.'
    )
    api_key_secret: SecretName = nothing(
        None, 'Name of a Prefect Secret block that holds the key instead; "none" for none.'
    )
    requests_per_minute: float = nothing(500, "What the provider permits.", gt=0)
    tokens_per_minute: float = nothing(200_000, "What the provider permits, prompt and answer.", gt=0)
    max_concurrency: Annotated[int, Field(ge=1, le=4096)] = nothing(256, "Most concurrent calls.")


class JudgeRewardConfig(Section):
    """An LLM that gives every answer a score from 1 to `highest_score`.

    Attempts, time-outs, batches and how often an unfit answer is asked for again are the reviser's
    (`[revision]`, `[revision_prompt]`, `[revision_batches]`); prices and the budget are in `[spending]`.
    """

    name: RewardName = nothing(..., _NAME)
    judge: Name = rows(..., "The provider's model name.", Within("scorer"))
    fields: _Fields = rows((), _FIELDS, Within("scorer"))
    weight: float = rows(1.0, _WEIGHT, Within("scorer"))
    rubric: str | None = rows(
        None, 'What a good answer is, in words; "none" for the built-in words.', Within("scorer")
    )
    template: Path | None = rows(
        None, 'Jinja2 template of the instructions; "none" for the built-in one.', Within("scorer")
    )
    highest_score: int = rows(10, "Of an excellent answer; the lowest is 1.", Within("scorer"), ge=2, le=1000)
    temperature: float | None = rows(
        0.0,
        'Of the judge; 0 is greedy; "none" sends none, for models without a temperature.',
        Within("scorer"),
        ge=0,
        le=2,
    )
    max_tokens: int = rows(1024, "Longest answer, in tokens.", Within("scorer"), ge=1, le=TOKENS_MAX)
    endpoint: JudgeEndpointConfig = nothing(JudgeEndpointConfig(), "Where it is asked, and how fast.")


KINDS: dict[str, type[Section]] = {
    "model": ModelRewardConfig,
    "program": ProgramRewardConfig,
    "judge": JudgeRewardConfig,
}
"""The kinds of rewards, by the key that each alone has."""


def _kind_of(value: Any) -> str | None:
    if isinstance(value, Section):
        return next((key for key, kind in KINDS.items() if type(value) is kind), None)
    keys = [key for key in KINDS if key in value] if isinstance(value, dict) else []
    return keys[0] if len(keys) == 1 else None


AnyReward = Annotated[
    Annotated[ModelRewardConfig, Tag("model")]
    | Annotated[ProgramRewardConfig, Tag("program")]
    | Annotated[JudgeRewardConfig, Tag("judge")],
    Discriminator(
        _kind_of,
        custom_error_type="kind_of_reward",
        custom_error_message="needs one of these keys, and only one: model, program, judge",
    ),
]


def _differently_named(listed: Sequence[Any]) -> Any:
    names = [each.name for each in listed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several rewards are called {twice[0]!r}; give each its own name")
    return listed


Rewards = Annotated[tuple[AnyReward, ...], AfterValidator(_differently_named)]
