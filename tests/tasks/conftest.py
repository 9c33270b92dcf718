"""A micro sandbox, a teacher, and the chain of stages with the settings of one test."""

from collections.abc import Callable, Iterator
from pathlib import Path

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
from figa_core.records import Split
from figa_core.revision.prompt import load_templates
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.storage.runs import save_run
from tasks.filter import admit, filter_responses, revision_recipe
from tasks.generate import Sampling, generate, generator_id
from tasks.import_prompts import import_prompts
from tasks.revise import revise, take_in_journal
from tasks.revision_settings import RevisionSections
from tasks.score import score_references, score_responses, score_revisions, scorer_id
from tasks.weigh import WeighResult, weigh
from tasks.workspace import Workspace

RUN = "run-of-the-test"
NOBODY = "http://127.0.0.1:9/v1"
KEY_VARIABLE = "FIGA_TEST_KEY"
EVERY_RESPONSE = FilterConfig(response_reward_below="q1", reference_reward_above="q0", reward_gap_above="q0")


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


class Chain:
    """The stages up to weigh, with the settings of one test."""

    def __init__(self, workspace: Workspace, sandbox: Sandbox, base_url: str, prompts: Path | None = None):
        self.workspace, self.run_id = workspace, RUN
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

    def import_prompts(self) -> None:
        import_prompts.fn(self.workspace, RUN, self.prompts, self.sampling.model)

    def up_to_scores(self) -> None:
        self.import_prompts()
        generate.fn(self.workspace, RUN, self.generation, self.sampling, 200)
        score_responses.fn(self.workspace, RUN, self.reward, self.generator, Split.TRAIN)
        score_references.fn(self.workspace, RUN, self.reward)

    def filter(self, config: FilterConfig = EVERY_RESPONSE) -> int:
        return filter_responses.fn(
            self.workspace,
            RUN,
            config,
            revision_recipe(self.revision, self.prompt, load_templates()),
            self.generator,
            self.scorer,
        ).n_out

    async def from_revise_to_weigh(self) -> WeighResult:
        take_in_journal.fn(self.workspace)
        await revise(self.workspace, RUN, self.sections)
        score_revisions.fn(self.workspace, RUN, self.reward)
        admit.fn(self.workspace, RUN, AdmissionConfig(reward_gain_above=None), self.scorer)
        return weigh.fn(self.workspace, RUN, WeightingConfig(), self.sampling.model, self.scorer)


@pytest.fixture
def make_chain(workspace: Workspace, sandbox: Sandbox) -> Callable[..., Chain]:
    """`make_chain(base_url, prompts=None)`: a chain on this test's workspace."""
    return lambda base_url, prompts=None: Chain(workspace, sandbox, base_url, prompts)
