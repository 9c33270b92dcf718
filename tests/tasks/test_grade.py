"""The grade stage: what is asked, what it costs, what falls back, and that nothing is asked twice."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from figa_core.config import AdmissionConfig, RevisionBatchesConfig, SpendingConfig, WeightingConfig
from figa_core.config.grader import GraderConfig
from figa_core.config.revision import ModelPrice
from figa_core.config.training import LossConfig
from figa_core.errors import LLMError, NothingToDoError, OpenRevisionsError, UngradedPairsError
from figa_core.records import EditClass
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.shards.read import iter_tables, pairs_of
from figa_core.storage import grades, revisions
from figa_core.storage.database import Database
from figa_core.training.data import PairData
from figa_core.training.objectives.figa import Figa
from tasks.filter import admit
from tasks.grade import grade
from tasks.graded import Graded, check_fallbacks, check_open_grades, fallback_line, graded_so_far
from tasks.grading_settings import GradingSections
from tasks.weigh import WeighResult, weigh
from tests.figa_core.llm.misbehaving import MisbehavingServer, misbehaving_server

from .conftest import NOBODY, Chain, MakeChain


class GradedChain:
    """A chain up to admit, and the stages after it with the settings of one test."""

    def __init__(self, chain: Chain, base_url: str, scheme: str = "llm_graded") -> None:
        self.chain, self.weighting = chain, WeightingConfig.model_validate({"scheme": scheme})
        self.grader = GraderConfig(model="sandbox-teacher", base_url=base_url, requests_per_minute=60_000)
        self.batches, self.spending = RevisionBatchesConfig(rows=7), SpendingConfig()

    @property
    def database(self) -> Database:
        return self.chain.workspace.database

    @property
    def sections(self) -> GradingSections:
        chain = self.chain
        return GradingSections(
            self.weighting.scheme, self.grader, chain.revision, chain.prompt, self.batches, self.spending
        )

    async def grade(self, **options: Any) -> Graded:
        chain = self.chain
        return await grade(
            chain.workspace, chain.run_id, self.sections, chain.sampling.model, chain.scorer, **options
        )

    def weigh(self) -> WeighResult:
        chain = self.chain
        return weigh.fn(chain.workspace, chain.run_id, self.weighting, chain.generation, chain.scorer)


async def admitted(make_chain: MakeChain, teacher: TeacherProcess) -> Chain:
    chain = make_chain(teacher.base_url)
    chain.up_to_filter()
    await chain.revise()
    chain.score_revisions()
    admit.fn(chain.workspace, chain.run_id, AdmissionConfig(reward_gain_above=None), chain.scorer)
    return chain


@pytest.fixture
async def chain(make_chain: MakeChain, teacher: TeacherProcess) -> Chain:
    return await admitted(make_chain, teacher)


@pytest.fixture
async def server() -> AsyncIterator[MisbehavingServer]:
    async with misbehaving_server() as server:
        yield server


async def test_scores_become_the_weights_of_a_training_and_nothing_is_asked_twice(
    chain: Chain, teacher: TeacherProcess
) -> None:
    before = teacher.requests()
    run = GradedChain(chain, teacher.base_url)
    graded = await run.grade()
    asked = teacher.requests() - before

    assert (graded.open_rows, graded.fallbacks, fallback_line(graded)) == (0, 0, None)
    assert 0 < asked <= graded.counts.n_in == graded.counts.n_out
    check_open_grades(graded, 0.0)
    check_fallbacks(graded, 0.0)
    weighed = run.weigh()
    pairs = [pair for table in iter_tables(weighed.directory) for pair in pairs_of(table)]
    factors = {factor for pair in pairs for factor in pair.revision_factors or ()}
    assert {round(factor, 6) for factor in factors} == {0.2, 0.6, 1.0}  # the teacher's scores, over 5
    assert {value for pair in pairs for value in pair.response_classes} <= {
        EditClass.KEPT,
        EditClass.END_OF_TURN,
    }

    # The loss's weights and N, computed here from the definition.
    data, figa = PairData(weighed.directory), Figa(LossConfig(alpha=2.0, beta=0.5, gamma=0.25))
    by_class = {EditClass.KEPT: 0.25, EditClass.UNIMPORTANT: 0.0}
    for index, pair in enumerate(pairs):
        expected = [
            by_class.get(EditClass(value), 2.0 * factor)
            for value, factor in zip(pair.revision_classes, pair.revision_factors or (), strict=True)
        ]
        [sequence] = data.sequences(index, figa, tail_cut=True)
        assert sequence.answer == "revision"
        assert np.allclose(sequence.weights_K, [weight for weight in expected if weight])
        assert data.counted(index, figa) == sum(EditClass(v) not in by_class for v in pair.revision_classes)

    again = await run.grade()
    assert (again, run.weigh().shard_set_id) == (graded, weighed.shard_set_id)
    assert teacher.requests() == before + asked


async def test_the_words_that_matter_are_the_ones_trained_on(chain: Chain, teacher: TeacherProcess) -> None:
    graded, binary = (GradedChain(chain, teacher.base_url, s) for s in ("llm_graded", "llm_binary"))
    await graded.grade()
    first = graded.weigh()
    await binary.grade()
    second = binary.weigh()
    [table] = iter_tables(second.directory)
    assert "revision_factors" not in table.column_names
    assert first.shard_set_id != second.shard_set_id
    by_score = {p.pair_id: p for t in iter_tables(first.directory) for p in pairs_of(t)}
    for pair in pairs_of(table):
        scored = by_score[pair.pair_id]
        expected = [  # the teacher says that words of a score from 3 on matter
            EditClass.UNIMPORTANT if factor < 0.5 else value
            for value, factor in zip(scored.revision_classes, scored.revision_factors or (), strict=True)
        ]
        assert list(pair.revision_classes) == expected


async def test_a_grader_that_answers_in_prose_falls_back_is_counted_and_ends_the_run(
    chain: Chain, teacher: TeacherProcess, server: MisbehavingServer
) -> None:
    server.script = lambda _number, _request: server.completion("The first word matters most, I think.")
    chain.prompt = chain.prompt.model_copy(update={"asked_again_max": 1})
    run = GradedChain(chain, server.url)
    graded = await run.grade()
    pairs = graded.counts.n_in
    assert (graded.counts.n_out, graded.counts.reasons) == (0, {"unfit": pairs})
    assert (graded.open_rows, graded.fallbacks) == (0, pairs)
    questions = {grade_id for (grade_id,) in run.database.fetch("SELECT grade_id FROM word_grades")}
    assert len(server.received) == 2 * len(questions)
    with pytest.raises(UngradedPairsError, match=r"(?s)fallback_share_max tolerates 20\.0%.*it is not JSON"):
        check_fallbacks(graded, run.grader.fallback_share_max)
    check_fallbacks(graded, 1.0)
    assert f"{pairs:,} of {pairs:,} pairs (100.0%) have no scores" in (fallback_line(graded) or "")
    assert graded_so_far(run.database, chain.run_id) == graded

    weighed = run.weigh()
    levenshtein = GradedChain(chain, NOBODY, "levenshtein").weigh()
    found = {p.pair_id: p for t in iter_tables(weighed.directory) for p in pairs_of(t)}
    plain = {p.pair_id: p for t in iter_tables(levenshtein.directory) for p in pairs_of(t)}
    assert found
    for pair_id, pair in found.items():
        assert replace(pair, revision_factors=None) == plain[pair_id]
        assert set(pair.revision_factors or ()) == {1.0}
    assert weighed.counts.reasons.keys() <= {
        "the revision only deletes, and weights by an LLM are for what it adds"
    }

    calls = len(server.received)
    await run.grade()  # an answer that is unfit for good is not asked for again
    assert len(server.received) == calls


async def test_an_endpoint_that_fails_leaves_grades_open_and_a_retry_asks_for_these_only(
    chain: Chain, teacher: TeacherProcess, server: MisbehavingServer
) -> None:
    """Meanwhile they count as open, not as pairs that fall back."""
    server.script = lambda number, request: (
        server.error(500, "down") if number % 3 == 0 else server.completion("no scores here")
    )
    chain.revision = chain.revision.model_copy(update={"max_attempts": 1})
    run = GradedChain(chain, server.url)
    first = await run.grade()
    assert set(first.open_by_kind) == {"server_error"}
    assert first.fallbacks == first.counts.reasons["unfit"] > 0
    with pytest.raises(OpenRevisionsError, match=r"grades are still open \(\d+ server_error\)"):
        check_open_grades(first, 0.0)
    shards = run.weigh().shard_set_id

    before = teacher.requests()
    run.grader = run.grader.model_copy(update={"base_url": teacher.base_url})
    second = await run.grade()
    assert second.counts.n_out == first.open_rows >= teacher.requests() - before > 0
    assert (second.open_rows, second.fallbacks) == (0, first.fallbacks)
    assert run.weigh().shard_set_id != shards


async def test_the_budget_covers_revisions_and_grades_together(chain: Chain, teacher: TeacherProcess) -> None:
    run = GradedChain(chain, teacher.base_url)
    run.grader = run.grader.model_copy(update={"max_tokens": 256, "max_concurrency": 1})
    price = ModelPrice(usd_per_million_prompt_tokens=100.0, usd_per_million_completion_tokens=400.0)
    run.spending = SpendingConfig(budget_usd=1.0, prices={"sandbox-teacher": price})
    first = await run.grade()
    spent = revisions.spent(run.database, chain.run_id)
    assert first.stopped_by is not None
    assert 0.5 < (spent.usd or 0.0) <= 1.0
    assert first.open_by_kind.keys() == {"not asked"}
    with pytest.raises(OpenRevisionsError, match=r"budget of \$1\.00 is reached"):
        check_open_grades(first, 0.0)
    asked = teacher.requests()
    await run.grade()  # what is spent stays spent
    assert teacher.requests() == asked

    run.spending = SpendingConfig(budget_usd=100.0, prices={"sandbox-teacher": price})
    assert (await run.grade()).open_rows == 0
    assert (revisions.spent(run.database, chain.run_id).usd or 0.0) > (spent.usd or 0.0)


async def test_a_lost_database_gets_the_scores_back_from_the_journal(
    make_chain: MakeChain, chain: Chain, teacher: TeacherProcess
) -> None:
    graded = await GradedChain(chain, teacher.base_url).grade()
    asked = teacher.requests()
    workspace = chain.workspace
    workspace.database.execute("DELETE FROM word_grades")
    workspace.database.execute("DELETE FROM run_grades")
    workspace.database.execute("DELETE FROM marks")
    workspace.database.execute("DELETE FROM calls")
    assert await GradedChain(chain, teacher.base_url).grade() == graded
    assert teacher.requests() == asked


@pytest.mark.slow
async def test_a_grader_that_is_down_ends_the_stage_and_a_later_run_asks_for_every_pair(
    chain: Chain, teacher: TeacherProcess
) -> None:
    with pytest.raises(LLMError, match=r"127\.0\.0\.1:9"):
        await GradedChain(chain, NOBODY).grade()
    open_pairs = grades.count_open(chain.workspace.database, chain.run_id)
    assert open_pairs > 0
    assert (await GradedChain(chain, teacher.base_url).grade()).counts.n_out == open_pairs


async def test_if_nothing_matters_there_is_nothing_to_train_on(
    chain: Chain, server: MisbehavingServer
) -> None:
    server.script = lambda _number, _request: server.completion('{"matter": []}')
    run = GradedChain(chain, server.url, "llm_binary")
    graded = await run.grade()
    assert graded.fallbacks == 0
    with pytest.raises(NothingToDoError, match="the grader gives every change the score 0"):
        run.weigh()
