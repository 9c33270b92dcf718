"""The rewards of a run with the ids of their values: which filters, which is trained on, which judges."""

from dataclasses import dataclass
from pathlib import Path

from figa_core import ids
from figa_core.config import JudgeRewardConfig, PipelineConfig, ProgramRewardConfig
from figa_core.config.decisions import settings_of, values_in_id
from figa_core.config.rewards import COMBINED
from figa_core.config.roles import OneReward, parts_of, roles_of, weight_of
from figa_core.errors import ConfigError, InputError
from figa_core.prompts.files import prompts_fingerprint
from figa_core.rewards.program import log_name
from figa_core.rewards.source import source_hash
from tasks.judge_settings import judge_id
from tasks.score import scorer_id
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Part:
    """One of the rewards in the settings; `scorer` is the id of its values.

    `source`: the hash of a program's files, which is part of that id.
    """

    name: str
    config: OneReward
    scorer: str
    source: str | None = None

    @property
    def weight(self) -> float:
        """Its share in a combined reward."""
        return weight_of(self.config)


@dataclass(frozen=True, slots=True)
class Reward:
    """What a stage goes by: one reward as it is, or several combined; `scorer` is the id of its values."""

    name: str
    scorer: str
    parts: tuple[Part, ...]

    @property
    def is_combined(self) -> bool:
        return len(self.parts) > 1


@dataclass(frozen=True, slots=True)
class RunRewards:
    """The reward of each use; see `figa_core.config.roles.Roles`."""

    filter: Reward
    training: Reward
    judge: Reward

    @property
    def distinct(self) -> tuple[Reward, ...]:
        """Each once."""
        return tuple(dict.fromkeys((self.filter, self.training, self.judge)))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of all of them, each once."""
        return tuple(dict.fromkeys(part for reward in self.distinct for part in reward.parts))


def run_rewards(workspace: Workspace, config: PipelineConfig, generator: str) -> RunRewards:
    """The rewards of the settings; `generator` is the id of the model that is sampled.

    Raises:
        ConfigError: a setting names no reward, two that are combined are the same, or the program or a
            template of one cannot be read.
        InputError: a file cannot be read.
    """
    prompts, read = prompts_fingerprint(config.prompts.path), values_in_id(settings_of(config, "prompts"))
    samples = config.generation.samples_per_prompt
    responses = ids.sample_set_id(prompts=prompts, settings=read, generator=generator, samples=samples)
    rows = ids.content_id("rows", 1, prompts=prompts, settings=read)
    known: dict[str, Part] = {}

    def part(name: str, reward: OneReward) -> Part:
        if name not in known:
            source = _source(reward) if isinstance(reward, ProgramRewardConfig) else None
            known[name] = Part(name, reward, part_id(workspace, reward, rows), source)
        return known[name]

    def reward(name: str) -> Reward:
        parts = tuple(part(each, config) for each, config in parts_of(config, name).items())
        if len(parts) == 1:
            return Reward(parts[0].name, parts[0].scorer, parts)
        _check_different(parts)
        weighted = [(each.scorer, each.weight) for each in parts]
        return Reward(COMBINED, ids.combined_id(parts=weighted, responses=responses), parts)

    return RunRewards(*map(reward, roles_of(config)))


def _check_different(parts: tuple[Part, ...]) -> None:
    names: dict[str, str] = {}
    for part in parts:
        if (other := names.setdefault(part.scorer, part.name)) != part.name:
            raise ConfigError(
                f"rewards: {other!r} and {part.name!r} are the same reward, which counts only once when all "
                "are combined. Remove one of them and add its weight to the other."
            )


def part_id(workspace: Workspace, reward: OneReward, rows: str) -> str:
    """The id of one reward's values. `rows` identifies the rows whose fields it may get."""
    of_rows = rows if getattr(reward, "fields", ()) else None
    if isinstance(reward, ProgramRewardConfig):
        return ids.program_id(name=reward.program, source=_source(reward), fields=reward.fields, rows=of_rows)
    if isinstance(reward, JudgeRewardConfig):
        return judge_id(reward, of_rows)
    return scorer_id(workspace, reward)


def check_unchanged(part: Part) -> None:
    """Raises InputError if a program was changed during the run: its values would be those of two."""
    if isinstance(part.config, ProgramRewardConfig) and part.source not in (None, _source(part.config)):
        raise InputError(
            f"rewards ({part.name}).program: the file of {part.config.program!r}, or a module beside it that "
            "it imports, has changed since this run began. Restore it to continue, or run `figa run` again: "
            "that is another run, and what does not depend on the program is not repeated."
        )


def _source(reward: ProgramRewardConfig) -> str:
    return source_hash(reward.program)


def log_of(workspace: Workspace, name: str) -> Path:
    """What a program prints."""
    return workspace.logs / log_name(name)
