"""The ids of a run's rewards: what changes them, and that a single reward model keeps its own."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.config import PipelineConfig
from figa_core.errors import ConfigError, InputError
from figa_core.sandbox.build import Sandbox
from tasks.rewards import RunRewards, check_unchanged, run_rewards
from tasks.score import scorer_id
from tasks.workspace import Workspace

PROGRAM = {"name": "facts", "program": "a_program_for_ids:rate"}
JUDGE = {"name": "tone", "judge": "gpt"}


class Settings:
    """A config with these rewards."""

    def __init__(self, workspace: Workspace, sandbox: Sandbox, directory: Path) -> None:
        self.workspace, self.model = workspace, sandbox.reward_model
        self.prompts = directory / "prompts.jsonl"
        self.prompts.write_text('{"prompt": "Where?"}\n')
        self.program = directory / "a_program_for_ids.py"
        self.program.write_text("def rate(messages, text): return 1\n")

    def config(self, *rewards: dict[str, Any], **sections: Any) -> PipelineConfig:
        given = {"rewards": rewards} if rewards else {"reward": {"model": self.model}}
        return PipelineConfig.model_validate(
            {
                "workspace": {"path": "w"},
                "prompts": {"path": self.prompts},
                "generation": {"model": "g"},
                "revision": {"model": "m"},
                **given,
                **sections,
            }
        )

    def rewards(self, *rewards: dict[str, Any], generator: str = "g", **sections: Any) -> RunRewards:
        return run_rewards(self.workspace, self.config(*rewards, **sections), generator)

    @property
    def helpful(self) -> dict[str, Any]:
        return {"name": "helpful", "model": self.model}


@pytest.fixture
def settings(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.syspath_prepend(tmp_path)
    return Settings(workspace, sandbox, tmp_path)


def test_a_single_reward_is_the_same_in_a_list_and_used_for_everything(settings: Settings) -> None:
    config = settings.config()
    assert config.reward is not None
    alone, listed = settings.rewards(), settings.rewards(settings.helpful)
    expected = scorer_id(settings.workspace, config.reward)
    for found in (alone, listed):
        [reward] = found.distinct
        assert (reward.scorer, reward.is_combined) == (expected, False)
    weighted = settings.rewards({**settings.helpful, "weight": 3.0}, {**PROGRAM, "weight": 0.0})
    assert [reward.scorer for reward in weighted.distinct] == [expected]


def test_all_with_a_weight_are_combined_and_each_use_may_have_its_own(settings: Settings) -> None:
    listed = (settings.helpful, PROGRAM, {**JUDGE, "weight": 0})
    found = settings.rewards(*listed)
    [combined] = found.distinct
    assert [part.name for part in combined.parts] == ["helpful", "facts"]
    chosen = settings.rewards(
        *listed, filter={"reward": "facts"}, admission={"reward": "combined"}, evaluation={"reward": "tone"}
    )
    assert (chosen.filter.name, chosen.training, chosen.judge.name) == ("facts", combined, "tone")
    assert [part.name for part in chosen.parts] == ["facts", "helpful", "tone"]
    following = settings.rewards(*listed, filter={"reward": "facts"})
    assert following.training == following.judge == following.filter


def test_what_decides_a_combined_reward_changes_its_id(settings: Settings) -> None:
    def scorer(*rewards: dict[str, Any], **sections: Any) -> str:
        return settings.rewards(*rewards, **sections).filter.scorer

    helpful = settings.helpful
    usual = scorer(helpful, PROGRAM)
    assert usual == scorer({**helpful, "name": "x"}, {**PROGRAM, "time_limit_s": 1.0, "processes": 3})
    others = {
        scorer(helpful, {**PROGRAM, "weight": 2.0}),
        scorer(helpful, JUDGE),
        scorer(helpful, PROGRAM, generator="another"),
        scorer(helpful, PROGRAM, generation={"model": "g", "samples_per_prompt": 2}),
    }
    settings.program.write_text("def rate(messages, text): return 2\n")
    others.add(scorer(helpful, PROGRAM))
    settings.prompts.write_text('{"prompt": "When?"}\n')
    others.add(scorer(helpful, PROGRAM))
    assert len(others | {usual}) == 7


def test_only_what_reads_the_rows_depends_on_the_file_of_prompts(settings: Settings) -> None:
    listed = [PROGRAM, {**PROGRAM, "name": "reading", "fields": ["answer"]}, JUDGE]
    listed.append({**JUDGE, "name": "comparing", "fields": ["reference"]})
    before = {part.name: part.scorer for part in settings.rewards(*listed).parts}
    settings.prompts.write_text('{"prompt": "Where?", "answer": 42}\n')
    after = {part.name: part.scorer for part in settings.rewards(*listed).parts}
    assert {name for name in before if before[name] != after[name]} == {"reading", "comparing"}
    assert len(set(before.values())) == 4


def test_a_program_that_is_changed_during_a_run_is_not_used_further(settings: Settings) -> None:
    [helpful, facts] = settings.rewards(settings.helpful, PROGRAM).parts
    for part in (helpful, facts):
        check_unchanged(part)
    before = settings.program.read_text()
    settings.program.write_text("def rate(messages, text): return 2\n")
    check_unchanged(helpful)
    with pytest.raises(InputError, match=r"'a_program_for_ids:rate'.* has changed since this run"):
        check_unchanged(facts)
    settings.program.write_text(before)
    check_unchanged(facts)


def test_one_reward_under_two_names_is_not_combined_with_itself(settings: Settings) -> None:
    twice = (PROGRAM, settings.helpful, {**PROGRAM, "name": "again", "weight": 2.0})
    with pytest.raises(ConfigError, match="'facts' and 'again' are the same reward"):
        settings.rewards(*twice)
    assert settings.rewards(*twice, filter={"reward": "again"}).filter.name == "again"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"filter": {"reward": "fact"}}, "no reward 'fact'; the rewards are 'facts'"),
        ({"evaluation": {"reward": "reward"}}, "no reward 'reward'"),
    ],
)
def test_a_name_that_no_reward_has_is_refused(
    settings: Settings, sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        settings.rewards(PROGRAM, **sections)
    with pytest.raises(ConfigError, match="every weight is 0"):
        settings.rewards({**PROGRAM, "weight": 0})
