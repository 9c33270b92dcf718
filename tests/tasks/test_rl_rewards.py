"""What a training by reinforcement learning gets of the run's reward: the numbers that the run stores."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from figa_core.chat.format import load_chat_format
from figa_core.config import JudgeRewardConfig, PipelineConfig, ProgramRewardConfig, RewardConfig
from figa_core.config.rewards import ModelRewardConfig
from figa_core.errors import InputError
from figa_core.inference.engines import Engines
from figa_core.rewards.source import source_hash
from figa_core.rl.job import ALIKE, UNSCORED
from figa_core.rl.rewards import Drawn, Rewards
from figa_core.sandbox.build import Sandbox
from figa_core.storage.scores import fields_of_prompts, iter_unrated
from figa_core.training.metrics import StepMetrics
from tasks.combine import combine
from tasks.rewards import Part, Reward
from tasks.rl_rewards import fields_wanted, job_rewards, reward_remark, rewards_learnt_from, sample_facts
from tasks.score import score, scorer_id
from tasks.score_by_program import score_by_program
from tasks.workspace import Workspace
from tests.figa_core.rl.jobs import rl_job

from .conftest import RUN
from .rating import RESPONSES, add_responses, failures_of, values_of, with_two_labels

TEXTS = ["your order has been sent.", "no", "we are sorry.", "it arrives on monday.", "sorry", "yes"]
PROGRAM = """
import math

def rate(messages, text, answer):
    return math.nan if text == "sorry" else len(text) / 7 + (text == answer)
"""


class Rated:
    """A run whose responses have values of some rewards."""

    def __init__(self, workspace: Workspace, engines: Engines, sandbox: Sandbox, directory: Path) -> None:
        self.workspace, self.sandbox, self.directory = workspace, sandbox, directory
        self._engines = engines
        add_responses(workspace.database, TEXTS, answer="no")

    def by_model(self, config: RewardConfig) -> Part:
        score.fn(self.workspace, config, RESPONSES, engines=self._engines)
        return Part("helpful", config, scorer_id(self.workspace, config))

    def by_program(self, weight: float = 1.0) -> Part:
        config = ProgramRewardConfig(
            name="right",
            program="a_program_to_learn_from:rate",
            fields=("answer",),
            weight=weight,
            processes=1,
        )
        part = Part("right", config, "program-1", source_hash(config.program))
        score_by_program.fn(self.workspace, part, RESPONSES)
        return part

    def combined(self, *parts: Part) -> Reward:
        reward = Reward("combined", "both", parts)
        combine.fn(self.workspace, reward, RESPONSES, sets_scale=True)
        return reward

    def in_a_training(self, reward: Reward) -> dict[str, float | None]:
        """The rewards of samples with the responses' texts."""
        rewards, base = job_rewards(self.workspace, reward), self.sandbox.base_model
        chat, database = load_chat_format(base), self.workspace.database
        rows = [
            row
            for page in iter_unrated(database, RESPONSES, "nobody", fields_wanted(rewards))
            for row in page
        ]
        samples = [
            Drawn(row.messages, (*chat.response_ids(row.text), *chat.end_of_turn_ids), row.fields)
            for row in rows
        ]
        job = rl_job(self.directory, model=base, rewards=rewards)
        job = type(job).from_json(job.model_dump_json(), source="as the worker reads it")
        with Rewards(job.model, job.rewards, tokens_per_batch=64, logs=self.directory) as rated:
            assert [rated.text(sample.token_ids) for sample in samples] == [row.text for row in rows]
            return dict(zip((row.text for row in rows), rated.of(samples), strict=True))


@pytest.fixture
def rated(
    workspace: Workspace,
    engines: Engines,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Rated:
    (tmp_path / "a_program_to_learn_from.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    return Rated(workspace, engines, sandbox, tmp_path)


def model_of(path: Path, **settings: Any) -> ModelRewardConfig:
    fields = {"name": "helpful", "model": path, "engine": "transformers", **settings}
    return ModelRewardConfig.model_validate(fields)


def test_samples_have_the_combined_reward_that_the_run_stores_for_their_texts(rated: Rated) -> None:
    model = model_of(rated.sandbox.reward_model, max_length=16, weight=-2.0)
    reward = rated.combined(rated.by_model(model), rated.by_program(weight=0.3))
    in_run = values_of(rated.workspace.database, "both")
    assert len(set(in_run.values())) == len(TEXTS) - 1
    found = rated.in_a_training(reward)
    assert {text: value for text, value in found.items() if value is not None} == pytest.approx(
        in_run, abs=1e-6
    )
    assert found.keys() - in_run.keys() == failures_of(rated.workspace.database, "both").keys() == {"sorry"}


def test_samples_have_a_programs_values_as_they_are(rated: Rated) -> None:
    part = rated.by_program(weight=0.3)
    in_run = values_of(rated.workspace.database, part.scorer)
    assert rated.in_a_training(Reward("right", part.scorer, (part,))) == {**in_run, "sorry": None}
    assert in_run["no"] == 2 / 7 + 1


def test_a_published_reward_model_rates_with_its_label_in_the_template_of_the_settings(
    rated: Rated, tmp_path: Path
) -> None:
    template = tmp_path / "rating.jinja"
    template.write_text(
        "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
    )
    published = with_two_labels(rated.sandbox.reward_model, tmp_path / "published")
    settings = {"max_length": 32, "chat_template": template}
    good, bad = (rated.by_model(model_of(published, label=each, **settings)) for each in ("good", "bad"))
    plain = rated.by_model(model_of(rated.sandbox.reward_model))
    in_run = values_of(rated.workspace.database, good.scorer)
    found = rated.in_a_training(Reward("helpful", good.scorer, (good,)))
    assert found == pytest.approx(in_run, abs=1e-6)
    for other in (bad, plain):
        assert found != pytest.approx(values_of(rated.workspace.database, other.scorer), abs=1e-3)


def test_rewards_whose_scale_is_not_known_are_no_reward_yet(rated: Rated) -> None:
    parts = rated.by_program(), replace(rated.by_program(), name="other", scorer="program-2")
    with pytest.raises(InputError, match="no common scale yet"):
        job_rewards(rated.workspace, Reward("combined", "both", parts))


def test_a_program_that_has_changed_since_the_run_rates_no_sample(rated: Rated) -> None:
    part = rated.by_program()
    (rated.directory / "a_program_to_learn_from.py").write_text("def rate(messages, text, answer): return 1")
    with pytest.raises(InputError, match=r"rewards \(right\).program: the file of .* has changed"):
        job_rewards(rated.workspace, Reward("right", part.scorer, (part,)))


def test_a_judge_is_never_asked_by_a_training(workspace: Workspace) -> None:
    judge = Part("tone", JudgeRewardConfig(name="tone", judge="gpt"), "judge-1")
    program = Part("right", ProgramRewardConfig(name="right", program="m:f"), "program-1")
    assert job_rewards(workspace, Reward("combined", "both", (program, judge))) == ()


def test_the_report_names_each_reward_with_its_weight() -> None:
    listed = [
        {"name": "helpful", "model": "models/reward"},
        {"name": "right", "program": "m:f", "weight": 2.5},
        {"name": "tone", "judge": "gpt", "weight": 0},
    ]
    assert rewards_learnt_from(config_of(rewards=listed)) == (
        "'helpful' (reward model reward, weight 1)",
        "'right' (program m:f, weight 2.5)",
    )
    one = config_of(rewards=listed, admission={"reward": "right"})
    assert rewards_learnt_from(one) == ("'right' (program m:f)",)
    assert rewards_learnt_from(config_of(reward={"model": "r"})) == ("'reward' (reward model r)",)


def config_of(**sections: Any) -> PipelineConfig:
    needed = {"workspace": {"path": "w"}, "prompts": {"path": "p"}, "generation": {"model": "g"}}
    return PipelineConfig.model_validate({**needed, "revision": {"model": "m"}, **sections})


def steps_with(alike: Sequence[int], unscored: int = 0, grad_norm: float = 1.0) -> list[StepMetrics]:
    return [
        StepMetrics(n, 0.1, 8, 100, 8, 1.0, 1e-5, grad_norm, figures={ALIKE: count, UNSCORED: unscored})
        for n, count in enumerate(alike, 1)
    ]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (steps_with([0, 8]), ""),
        (steps_with([2, 8]), "10 of 16 samples differed in reward from no other of their prompt"),
        (
            steps_with([8, 8], grad_norm=0.0),
            "no two samples of a prompt had different rewards, so there was nothing to learn from them; it "
            "is the base model",
        ),
        (
            steps_with([8, 8]),
            "no two samples of a prompt had different rewards, so there was nothing to learn from them",
        ),
        (steps_with([0, 0], unscored=2), "4 of 16 samples had no reward"),
        (steps_with([0, 0], unscored=0), ""),
    ],
)
def test_a_training_that_most_of_its_samples_taught_nothing_has_a_remark(
    steps: list[StepMetrics], words: str, tmp_path: Path
) -> None:
    assert reward_remark(rl_job(tmp_path), steps) == words


def test_samples_that_taught_nothing_are_facts_of_the_curve() -> None:
    assert sample_facts(steps_with([0, 0])) == {}
    assert sample_facts(steps_with([2, 1], unscored=1)) == {
        "samples without a difference in reward": "3 of 16",
        "samples without a reward": "2 of 16",
    }


def test_the_fields_of_prompts_are_those_of_their_responses(rated: Rated) -> None:
    database = rated.workspace.database
    wanted = ("answer", "reference", "nothing")
    prompts = [key for (key,) in database.fetch("SELECT prompt_id FROM run_prompts WHERE run_id = $r", r=RUN)]
    found = fields_of_prompts(database, RUN, prompts[:2], wanted)
    assert found == {key: {"answer": "no", "reference": None, "nothing": None} for key in prompts[:2]}
