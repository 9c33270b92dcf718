"""Without held-out prompts nothing can be judged: it ends before anything is paid for or trained."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from figa_core import ids
from figa_core.config import PipelineConfig
from figa_core.config.file import load_config
from figa_core.errors import EvaluationError
from figa_core.evaluation.parts import JUDGED_LEAST
from figa_core.records import Message, Prompt, Split
from figa_core.storage.prompts import save_prompts
from figa_core.study.reward.settings import RewardStudySettings
from flows import build_dataset, study_reward
from flows.comparison.contest import Contest
from flows.progress import Lines
from flows.run.open_run import OpenRun, open_run
from flows.run.story import Story
from tasks.import_prompts import import_prompts
from tasks.revise import read_journal
from tests.flows.conftest import KEY, KEY_VARIABLE, Project


@pytest.fixture
def config(project: Project, monkeypatch: pytest.MonkeyPatch) -> PipelineConfig:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    project.settings["prompts"] |= {"limit": 20, "held_out_share": 1e-9}
    return load_config(project.config)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def run(config: PipelineConfig, lines: list[str]) -> Iterator[OpenRun]:
    with open_run(config, "a flow run", Lines(lines.append)) as run:
        yield run


def save(run: OpenRun, split: Split, count: int = 20) -> list[Prompt]:
    messages = [(Message("user", f"question {n}"),) for n in range(count)]
    prompts = [Prompt(ids.prompt_id(each), each, split) for each in messages]
    save_prompts(run.workspace.database, run.run_id, prompts)
    return prompts


@pytest.mark.parametrize("least", [1, JUDGED_LEAST], ids=["study reward", "compare"])
async def test_a_run_that_leaves_nobody_to_judge_by_ends_after_the_import(
    run: OpenRun, config: PipelineConfig, lines: list[str], monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    for task in (read_journal, import_prompts):  # without Prefect
        monkeypatch.setattr(build_dataset, task.fn.__name__, task.fn)
    with pytest.raises(EvaluationError, match=f"leaves 0 of 20 prompts .* {least} (is|are) the least"):
        await build_dataset.choose(Story(Lines(lines.append)), run, config, held_out_least=least)
    assert "import" in "\n".join(lines)
    assert "generate" not in "\n".join(lines)


async def test_a_study_without_held_out_prompts_trains_no_reward_model(
    run: OpenRun, config: PipelineConfig, lines: list[str]
) -> None:
    save(run, Split.TRAIN)
    before = len(lines)
    with pytest.raises(EvaluationError, match=r"held_out_share = 1e-09 leaves 0 of 20 prompts"):
        await study_reward._prepare(Story(Lines(lines.append)), run, config, RewardStudySettings())
    assert lines[before:] == []  # not one stage has begun


def test_a_comparison_whose_judged_prompts_all_choose_rates_trains_nothing() -> None:
    async def base() -> dict[str, float]:
        return {"chooses": 50.0}

    contest = Contest.__new__(Contest)
    contest._validation = frozenset({"chooses"})
    judge: Any = SimpleNamespace(base=base)
    contest._judging = judge
    with pytest.raises(EvaluationError, match=r"1 held-out prompts have a score .* none is left to judge"):
        asyncio.run(contest.begin())
