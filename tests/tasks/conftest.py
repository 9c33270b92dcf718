"""A tiny sandbox, a teacher, and the chain of stages with the settings of one test."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from figa_core.config import (
    AdmissionConfig,
    FilterConfig,
    GenerationConfig,
    PromptsConfig,
    RevisionBatchesConfig,
    RevisionConfig,
    RevisionPromptConfig,
    RewardConfig,
    SpendingConfig,
    WeightingConfig,
)
from figa_core.inference.engines import Engines
from figa_core.records import Split
from figa_core.revision.prompt import load_templates
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.storage.runs import save_run
from figa_core.storage.scores import references_of, responses_of, revisions_of
from tasks.filter import admit, filter_responses, revision_recipe
from tasks.generate import Sampling, generate, generator_id
from tasks.import_prompts import import_prompts
from tasks.results import StageCounts
from tasks.revise import read_journal, revise
from tasks.revised import Revised
from tasks.revision_settings import RevisionSections
from tasks.score import score, scorer_id
from tasks.weigh import WeighResult, weigh
from tasks.workspace import Workspace

RUN = "run-of-the-test"
NOBODY = "http://127.0.0.1:9/v1"
KEY_VARIABLE = "FIGA_TEST_KEY"
EVERY_RESPONSE = FilterConfig(response_reward_below="q1", reference_reward_above="q0", reward_gap_above="q0")
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""A chat template that refuses system messages."""


def with_template(model: Path, template: str, target: Path) -> Path:
    """A copy of the model with another chat template."""
    shutil.copytree(model, target)
    (target / "chat_template.jinja").write_text(template)
    return target


@pytest.fixture
def teacher() -> Iterator[TeacherProcess]:
    with TeacherProcess() as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv(KEY_VARIABLE, "any-key-does")
    workspace = Workspace(tmp_path / "workspace")
    workspace.database.create()
    save_run(workspace.database, RUN, "test", {}, None)
    return workspace


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    with Engines() as engines:
        yield engines


class Chain:
    """The stages up to weigh, with the settings of one test."""

    def __init__(
        self,
        workspace: Workspace,
        engines: Engines,
        sandbox: Sandbox,
        base_url: str,
        prompts: Path | None = None,
    ):
        self.workspace, self.engines, self.run_id = workspace, engines, RUN
        self.prompts = PromptsConfig(path=prompts or sandbox.prompts, held_out_share=0.25, limit=40)
        self.generation = GenerationConfig(model=sandbox.base_model, engine="transformers", max_tokens=24)
        self.reward = RewardConfig(model=sandbox.reward_model, engine="transformers")
        self.revision = RevisionConfig(
            base_url=base_url,
            model="sandbox-teacher",
            api_key_env=KEY_VARIABLE,
            requests_per_minute=60_000,
            tokens_per_minute=60_000_000,
        )
        self.prompt = RevisionPromptConfig(asked_again_max=0)
        self.batches, self.spending = RevisionBatchesConfig(rows=7), SpendingConfig()
        self.sampling = Sampling(sandbox.base_model, Split.TRAIN, temperature=1.0, samples=1)
        self.generator = generator_id(workspace, self.generation, self.sampling)
        self.scorer = scorer_id(workspace, self.reward)

    @property
    def sections(self) -> RevisionSections:
        return RevisionSections(self.revision, self.prompt, self.batches, self.spending)

    def import_prompts(self, **options: Any) -> StageCounts:
        models = (self.generation, self.reward)
        return import_prompts.fn(self.workspace, RUN, self.prompts, *models, **options)

    def generate(self) -> StageCounts:
        return generate.fn(self.workspace, RUN, self.generation, self.sampling, 200, engines=self.engines)

    def score_responses(self, **options: Any) -> StageCounts:
        texts = responses_of(RUN, self.generator, Split.TRAIN)
        return score.fn(self.workspace, self.reward, texts, engines=self.engines, **options)

    def score_revisions(self) -> StageCounts:
        return score.fn(self.workspace, self.reward, revisions_of(RUN), engines=self.engines)

    def up_to_scores(self) -> None:
        self.import_prompts()
        self.generate()
        self.score_responses()
        score.fn(self.workspace, self.reward, references_of(RUN), engines=self.engines)

    def up_to_filter(self) -> int:
        """The number of responses that are kept: all of them."""
        self.up_to_scores()
        return self.filter()

    def filter(self, config: FilterConfig = EVERY_RESPONSE) -> int:
        return filter_responses.fn(
            self.workspace,
            RUN,
            config,
            revision_recipe(self.revision, self.prompt, load_templates()),
            self.generator,
            self.scorer,
        ).n_out

    async def revise(self, **options: Any) -> Revised:
        return await revise(self.workspace, RUN, self.sections, **options)

    async def from_revise_to_weigh(self, best_of: int | None = None) -> WeighResult:
        read_journal.fn(self.workspace)
        await self.revise()
        self.score_revisions()
        admit.fn(self.workspace, RUN, AdmissionConfig(reward_gain_above=None), self.scorer)
        return self.weigh(best_of)

    def weigh(self, best_of: int | None = None) -> WeighResult:
        at = (self.workspace, RUN, WeightingConfig(), self.generation, self.scorer)
        return weigh.fn(*at, best_of=best_of)


MakeChain = Callable[..., Chain]


@pytest.fixture
def make_chain(workspace: Workspace, engines: Engines, sandbox: Sandbox) -> MakeChain:
    """`make_chain(base_url, prompts=None)`: a chain on this test's workspace."""
    return partial(Chain, workspace, engines, sandbox)


@pytest.fixture
def chain(make_chain: MakeChain) -> Chain:
    """A chain without a reviser."""
    return make_chain(NOBODY)
