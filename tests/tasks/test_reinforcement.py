"""Reinforcement learning in a comparison: budgets, ids, what it costs, and why it cannot run."""

import json
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import MethodConfig, PipelineConfig, ProgramRewardConfig, RewardConfig
from figa_core.evaluation.cost import Cost
from figa_core.records import FinishReason, Message, Prompt, Response, Split
from figa_core.rl import environments
from figa_core.rl.budget import DataTokens
from figa_core.rl.job import ENTROPY, GENERATED, KL, REWARD, SCORED
from figa_core.rl.job_rewards import ModelReward
from figa_core.rl.prompts_file import conversation, read_prompts, row_fields
from figa_core.sandbox.build import Sandbox
from figa_core.shards.sizes import ShardSizes
from figa_core.storage.database import Database
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.training.checkpoints import TrainingManifest
from figa_core.training.metrics import StepMetrics, to_line
from tasks.compare import contenders, samples_for_best, schemes_of
from tasks.method_costs import pass_cost, share_of
from tasks.reinforcement import (
    RlData,
    missing_environments,
    rl_cost,
    rl_curve,
    rl_data,
    rl_job,
    trl_versions,
    why_unable,
)
from tasks.rewards import Part, Reward
from tasks.workspace import Workspace

from .conftest import RUN

BRIEF = "figa_core.rewards.examples:is_brief"
SIZES = ShardSizes(10, 100, {}, {"response": 300, "revision": 450, "reference": 0})
DATA = RlData(
    Path("prompts.parquet"),
    "hash",
    100,
    "scorer",
    DataTokens(drafts=100, drafted=6000, answered=2500),
    (ModelReward(name="reward", model=Path("reward"), max_length=2048),),
)


def config_of(
    base: Path = Path("base"), *, generation: Any = None, rewards: Any = None, **compare: Any
) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "workspace": {"path": "w"},
            "prompts": {"path": "p"},
            "generation": {"model": base, **(generation or {})},
            **({"rewards": rewards} if rewards else {"reward": {"model": "reward"}}),
            "revision": {"model": "m"},
            "compare": compare,
        }
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    model = tmp_path / "base"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    return model


@pytest.fixture
def with_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if both environments were there."""
    for environment in (environments.OF_TRL, environments.OF_PPO):
        path = tmp_path / f"python-{environment.release}"
        path.write_text(f"#!/bin/sh\necho release {environment.release}.0\n")
        path.chmod(0o755)
        monkeypatch.setenv(environment.variable, str(path))


@pytest.fixture
def without_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in (environments.OF_TRL, environments.OF_PPO):
        path = tmp_path / f"python-{environment.release}"
        path.write_text("#!/bin/sh\necho trl\n")
        path.chmod(0o755)
        monkeypatch.setenv(environment.variable, str(path))


def job_of(base: Path, **method: Any) -> Any:
    config = config_of(base)
    wanted = MethodConfig.model_validate({"objective": "grpo", **method})
    workspace = Workspace(base.parent)
    return rl_job(workspace, config, wanted, DATA, share=1.0, learning_rate=1e-5, seed=0)


def test_a_job_has_the_budget_of_the_pairs_times_what_the_method_says(base: Path) -> None:
    assert job_of(base).token_budget == 8500
    assert job_of(base, token_budget=5).token_budget == 42_500
    assert job_of(base, token_budget=5).samples_per_step == 16  # 42 500 tokens, 60 a sample, 24 updates
    assert job_of(base).steps == 18  # of 8 samples


def test_a_job_samples_as_the_run_and_is_held_to_the_base_as_its_method_is(base: Path) -> None:
    job = job_of(base)
    assert (job.temperature, job.max_tokens, job.kl_weight, job.samples_per_prompt) == (1.0, 512, 0.04, 8)
    assert job_of(base, objective="rloo").samples_per_prompt == 4
    assert job_of(base, kl_weight=0).kl_weight == 0


def test_equal_trainings_have_equal_ids_and_others_do_not(base: Path) -> None:
    job = job_of(base)
    assert job.training_id.startswith("rl-training-s256-")
    assert job.output == Workspace(base.parent).training(job.training_id)
    assert job_of(base) == job
    assert job_of(base, label="another name").training_id == job.training_id
    others = [{"objective": "rloo"}, {"token_budget": 2}, {"kl_weight": 0.1}]
    assert len({job.training_id, *(job_of(base, **other).training_id for other in others)}) == 4


@pytest.mark.parametrize(
    ("method", "training_id"),
    [
        ({}, "rl-training-s256-8839fa2cd7252056723439b9410a60c0"),
        ({"objective": "rloo", "kl_weight": 0.1}, "rl-training-s256-a36081884c63d104dc461d22a1d44a7a"),
        ({"objective": "ppo"}, "rl-training-s256-786ccfc6e5d2406edc6c5a8eb0040bd3"),
    ],
    ids=["grpo", "rloo", "ppo"],
)
def test_a_training_on_one_reward_model_keeps_its_id(
    method: dict[str, Any], training_id: str, base: Path
) -> None:
    """Or it would be trained again."""
    assert job_of(base, **method).training_id == training_id


@pytest.mark.usefixtures("with_trl")
def test_every_rate_and_seed_is_a_training_with_the_budget_of_its_pairs(base: Path) -> None:
    methods = ["grpo", {"objective": "ppo", "token_budget": 5, "learning_rates": [1e-6]}]
    config = config_of(base, methods=methods, seeds=[0, 1], learning_rates=[1e-5, 1e-4], pairs=[5, 10, 11])
    rows = contenders(Workspace(base.parent), config, {}, SIZES, rl=DATA)
    assert [(row.method.name, row.pairs, len(row.trainings), row.unable) for row in rows] == [
        ("GRPO", 5, 4, ""),
        ("PPO (5 × the tokens)", 5, 2, ""),
        ("GRPO", 10, 4, ""),
        ("PPO (5 × the tokens)", 10, 2, ""),
        ("GRPO", 11, 0, "there are only 10 pairs"),
        ("PPO (5 × the tokens)", 11, 0, "there are only 10 pairs"),
    ]
    budgets = [{getattr(each.job, "token_budget", None) for each in row.trainings} for row in rows[:4]]
    assert budgets == [{4250}, {21_250}, {8500}, {42_500}]


def test_they_need_no_shards_no_pass_and_no_pairs(base: Path) -> None:
    config = config_of(base, methods=["grpo", "rloo", "ppo"])
    assert schemes_of(config) == ()
    assert samples_for_best(config) is None
    method = MethodConfig(objective="ppo")
    assert pass_cost(method, config, SIZES) == Cost()
    assert share_of(Cost(1000, 1e9, usd=4.0), method, config, 1.0) == Cost()


@pytest.mark.usefixtures("without_trl")
def test_without_the_environment_it_is_a_row_that_says_how_to_get_it(base: Path) -> None:
    config = config_of(base, methods=["grpo"])
    [row] = contenders(Workspace(base.parent), config, {}, SIZES, rl=DATA)
    assert row.trainings == ()
    assert "cannot run TRL 1.16: it has no trl" in row.unable
    assert "`make rl`" in row.unable


@pytest.mark.usefixtures("without_trl")
def test_what_is_missing_is_said_before_anything_is_spent() -> None:
    config = config_of(methods=["figa", "ppo", {"objective": "ppo", "token_budget": 5}])
    [line] = missing_environments(config)
    assert line.startswith("PPO cannot run here: FIGA_PPO_PYTHON")
    assert trl_versions(config) == {}


@pytest.mark.usefixtures("with_trl")
def test_nothing_is_missing_where_the_environments_are(tmp_path: Path) -> None:
    assert not list(missing_environments(config_of(methods=["figa", "ppo", "grpo"])))


@pytest.mark.usefixtures("with_trl")
@pytest.mark.parametrize(
    ("changes", "data", "share", "words"),
    [
        ({"temperature": 0}, DATA, 1.0, "generation.temperature is 0"),
        ({}, RlData(Path(), "h", 0, "s", DATA.tokens), 1.0, "there are no training prompts"),
        ({}, DATA, 0.05, "its budget of 425 tokens is less than the 8 samples of one step may take"),
        ({}, DATA, 1.0, ""),
    ],
)
def test_why_nothing_can_be_learnt_is_said(
    changes: dict[str, Any], data: RlData, share: float, words: str
) -> None:
    found = why_unable(MethodConfig(objective="grpo"), config_of(generation=changes), data, share)
    assert words in found
    assert bool(words) == bool(found)


MODEL = {"name": "helpful", "model": "models/reward"}
PROGRAM = {"name": "right", "program": "my_rewards:right"}
JUDGE = {"name": "tone", "judge": "gpt-5"}


@pytest.mark.usefixtures("with_trl")
@pytest.mark.parametrize(
    ("method", "rewards", "words"),
    [
        ("grpo", [PROGRAM], ""),
        ("rloo", [MODEL, PROGRAM], ""),
        ("ppo", [MODEL], ""),
        ("ppo", [PROGRAM], "'right' (the program my_rewards:right). Use grpo or rloo, which learn from any"),
        ("ppo", [MODEL, PROGRAM], "'helpful' (the reward model reward) and 'right' (the program"),
        ("grpo", [MODEL, JUDGE], "would ask the judge 'tone' about every sample"),
        ("grpo", [MODEL, {**JUDGE, "weight": 0}], ""),
        ("ppo", [JUDGE], "would ask the judge 'tone' about every sample"),
    ],
)
def test_a_method_takes_the_rewards_that_its_trainer_can_and_names_the_others(
    method: str, rewards: list[dict[str, Any]], words: str
) -> None:
    found = why_unable(MethodConfig(objective=method), config_of(rewards=rewards), DATA, 1.0)
    assert words in found
    assert bool(words) == bool(found)


def steps(job: Any, figures: dict[str, float | None] | None = None) -> None:
    job.output.mkdir(parents=True)
    figures = figures or {REWARD.name: 0.5, KL.name: 0.01, ENTROPY.name: 2.0, GENERATED: 400, SCORED: 1100}
    lines = [StepMetrics(n, 0.1, 8, 1000, 8, 2.0, 1e-5, None, figures=figures) for n in (1, 2)]
    job.metrics_path.write_text("".join(map(to_line, lines)))


def test_a_training_costs_its_passes_its_time_and_its_memory(base: Path) -> None:
    job = job_of(base)
    steps(job)
    manifest = TrainingManifest("id", 2, 0, 9.5, 123, {})
    parameters = {job.model: 7, Path("reward"): 3}.__getitem__
    cost = rl_cost(job, manifest, parameters)
    assert cost == Cost(
        tokens=2000, flops=2 * (2 * 2 * 7 * 1000 + 6 * 7 * 1000 + 2 * 3 * 1100), seconds=9.5, peak_bytes=123
    )
    assert rl_cost(job, None, parameters).seconds == 4.0


def test_its_curve_shows_reward_and_distance_from_the_base(base: Path) -> None:
    job = job_of(base)
    steps(job)
    curve = rl_curve(job, None, "mine")
    assert (curve.label, curve.steps) == ("mine", (1, 2))
    assert curve.series["loss"] == (0.1, 0.1)
    assert curve.series[REWARD.title] == (0.5, 0.5)
    assert curve.series[KL.title] == (0.01, 0.01)
    assert curve.facts["tokens generated"] == "800 of 8,500"


def test_a_figure_that_its_trainer_does_not_report_has_no_curve(base: Path) -> None:
    job = job_of(base, objective="ppo")
    steps(job, {REWARD.name: 0.5, KL.name: None})
    series = rl_curve(job, None, "mine").series
    assert REWARD.title in series
    assert not {KL.title, ENTROPY.title} & set(series)


def fill(database: Database) -> list[Prompt]:
    """Three training prompts with a draft of three tokens each, and a held-out one."""
    questions = [(Message("user", f"question {number}"),) for number in range(4)]
    splits = (Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.HELD_OUT)
    prompts = [
        Prompt(f"prompt-{n}", m, s, None, None, fields=json.dumps({"answer": n}))
        for n, (m, s) in enumerate(zip(questions, splits, strict=True))
    ]
    save_prompts(database, RUN, prompts)
    drawn = [
        Response(f"r-{p.prompt_id}", p.prompt_id, 0, "text", (1, 2, 3), FinishReason.STOP) for p in prompts
    ]
    save_responses(database, "generator", drawn)
    return prompts


def test_what_all_trainings_share_is_read_from_the_run(workspace: Workspace, sandbox: Sandbox) -> None:
    prompts = fill(workspace.database)
    config = config_of(sandbox.base_model)
    model = RewardConfig(model=sandbox.reward_model)
    reward = Reward("reward", "scorer", (Part("reward", model, "scorer"),))
    data = rl_data(workspace, RUN, "generator", reward, config, SIZES)
    assert (data.count, data.scorer) == (3, "scorer")
    assert data.rewards == (ModelReward(name="reward", model=sandbox.reward_model, max_length=2048),)
    # Three drafts with their end of turn; no call counts its tokens, so the revisions' own are.
    assert data.tokens == DataTokens(drafts=3, drafted=12, answered=350)
    table = read_prompts(data.prompts)
    assert table.column("prompt_id").to_pylist() == ["prompt-0", "prompt-1", "prompt-2"]
    assert [conversation(text) for text in table.column("messages").to_pylist()] == [
        prompt.messages for prompt in prompts[:3]
    ]
    assert all(table.column("prompt_ids").to_pylist())
    assert table.column("fields").to_pylist() == [None] * 3
    assert rl_data(workspace, RUN, "generator", reward, config, SIZES) == data
    with_fields = ProgramRewardConfig(name="right", program=BRIEF, fields=("type", "answer"))
    reward = Reward("right", "program", (Part("right", with_fields, "program"),))
    other = rl_data(workspace, RUN, "generator", reward, config, SIZES)
    assert other.prompts != data.prompts
    fields = read_prompts(other.prompts).column("fields").to_pylist()
    assert [row_fields(text) for text in fields] == [{"type": None, "answer": n} for n in range(3)]
