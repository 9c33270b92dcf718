"""From a file of prompts to shards, every part real: sandbox models, the teacher over HTTP, DuckDB."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from figa_core.config import (
    AdmissionConfig,
    Engine,
    FilterConfig,
    GenerationConfig,
    PromptsConfig,
    RevisionConfig,
    RewardConfig,
    WeightingConfig,
)
from figa_core.errors import ConfigError, NothingToDoError
from figa_core.records import Split
from figa_core.sandbox.build import Sandbox, build_recipe
from figa_core.sandbox.recipe import SandboxRecipe
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.storage.shards import iter_pairs
from tasks.filter import admit, filter_responses
from tasks.generate import Sampling, generate, generator_id
from tasks.import_prompts import import_prompts
from tasks.revise import revise, take_in_journal
from tasks.score import score_references, score_responses, score_revisions, scorer_id
from tasks.weigh import WeighResult, weigh
from tasks.workspace import Workspace

RUN = "run-of-the-test"
MICRO = SandboxRecipe(seed=2, n_prompts=40, base_steps=6, reward_steps=6, pairs_judged=12, prompts_sampled=6)
KEY_VARIABLE = "FIGA_TEST_KEY"
EVERY_RESPONSE = FilterConfig(response_reward_below="q1", reference_reward_above="q0", reward_gap_above="q0")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return build_recipe(tmp_path_factory.mktemp("sandbox"), MICRO)


@pytest.fixture
def teacher() -> Iterator[TeacherProcess]:
    with TeacherProcess() as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv(KEY_VARIABLE, "any-key-does")
    workspace = Workspace(tmp_path / "workspace")
    workspace.store.create()
    workspace.store.save_run(RUN, "test", {}, None)
    return workspace


class Chain:
    """The stages up to weigh, with the settings of one test."""

    def __init__(self, workspace: Workspace, sandbox: Sandbox, base_url: str, prompts: Path | None = None):
        self.workspace = workspace
        self.prompts = PromptsConfig(path=prompts or sandbox.prompts, held_out_share=0.25)
        self.generation = GenerationConfig(
            model=sandbox.base_model, engine=Engine.TRANSFORMERS, max_tokens=24
        )
        self.reward = RewardConfig(model=sandbox.reward_model, engine=Engine.TRANSFORMERS)
        self.revision = RevisionConfig(
            base_url=base_url,
            model="sandbox-teacher",
            api_key_env=KEY_VARIABLE,
            requests_per_minute=60_000,
            tokens_per_minute=60_000_000,
        )
        self.sampling = Sampling(sandbox.base_model, Split.TRAIN, temperature=1.0, samples=1)
        self.generator = generator_id(workspace, self.generation, self.sampling)
        self.scorer = scorer_id(workspace, self.reward)

    def up_to_scores(self) -> None:
        import_prompts.fn(self.workspace, RUN, self.prompts, self.sampling.model)
        generate.fn(self.workspace, RUN, self.generation, self.sampling, 200)
        score_responses.fn(self.workspace, RUN, self.reward, self.generator, Split.TRAIN)
        score_references.fn(self.workspace, RUN, self.reward)

    def filter(self, config: FilterConfig = EVERY_RESPONSE) -> int:
        return filter_responses.fn(
            self.workspace, RUN, config, self.revision, self.generator, self.scorer
        ).n_out

    async def from_revise_to_weigh(self) -> WeighResult:
        take_in_journal.fn(self.workspace)
        await revise.fn(self.workspace, RUN, self.revision)
        score_revisions.fn(self.workspace, RUN, self.reward)
        admit.fn(self.workspace, RUN, AdmissionConfig(reward_gain_above=None), self.scorer)
        return weigh.fn(self.workspace, RUN, WeightingConfig(), self.sampling.model, self.scorer)


async def test_prompts_become_shards_and_a_second_run_repeats_no_call(
    workspace: Workspace, sandbox: Sandbox, teacher: TeacherProcess
) -> None:
    chain = Chain(workspace, sandbox, teacher.base_url)
    chain.up_to_scores()
    kept = chain.filter()
    first = await chain.from_revise_to_weigh()

    pairs = list(iter_pairs(first.directory))
    assert 0 < len(pairs) == first.result.n_out <= kept
    assert all(len(p.revision_ids) == len(p.revision_classes) for p in pairs)
    calls = teacher.requests()
    assert calls == kept

    chain.up_to_scores()
    chain.filter()
    assert await chain.from_revise_to_weigh() == first
    assert teacher.requests() == calls


async def test_held_out_prompts_reach_neither_the_teacher_nor_the_shards(
    workspace: Workspace, sandbox: Sandbox, teacher: TeacherProcess
) -> None:
    chain = Chain(workspace, sandbox, teacher.base_url)
    chain.up_to_scores()
    with workspace.store.database.open() as connection:
        train = connection.execute("SELECT count(*) FROM prompts WHERE split = 'train'").fetchone()
    assert train is not None
    assert chain.filter() <= train[0] < MICRO.n_prompts


async def test_bad_rows_are_recorded_with_their_reason_and_stop_nothing(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    lines = sandbox.prompts.read_text().splitlines()[:3]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join([*lines, "{broken", lines[0], '{"prompt": "  "}', '{"question": "x"}']))
    chain = Chain(workspace, sandbox, "http://127.0.0.1:9/v1", path)

    result = import_prompts.fn(workspace, RUN, chain.prompts, sandbox.base_model)

    assert (result.n_in, result.n_out) == (7, 3)
    with workspace.store.database.open() as connection:
        rows = connection.execute("SELECT source_row, reason FROM bad_rows ORDER BY 1").fetchall()
    assert [row for row, _ in rows] == [4, 5, 6, 7]
    assert rows[1][1] == "duplicate of row 1"


def test_a_file_without_one_usable_row_is_an_error_with_the_reasons(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": ""}\n')
    chain = Chain(workspace, sandbox, "http://127.0.0.1:9/v1", path)
    with pytest.raises(NothingToDoError, match="the prompt is empty"):
        import_prompts.fn(workspace, RUN, chain.prompts, sandbox.base_model)


def test_thresholds_that_keep_nothing_say_so_with_the_reasons(workspace: Workspace, sandbox: Sandbox) -> None:
    chain = Chain(workspace, sandbox, "http://127.0.0.1:9/v1")
    chain.up_to_scores()
    with pytest.raises(NothingToDoError, match="response_reward_below"):
        chain.filter(FilterConfig(response_reward_below=-1e9))


async def test_a_missing_key_is_named_before_anything_is_sent(
    workspace: Workspace, sandbox: Sandbox, teacher: TeacherProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(workspace, sandbox, teacher.base_url)
    chain.up_to_scores()
    chain.filter()
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(ConfigError, match=KEY_VARIABLE):
        await revise.fn(workspace, RUN, chain.revision)
    assert teacher.requests() == 0
