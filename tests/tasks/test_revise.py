"""The revise stage when the reviser misbehaves: no row is lost, and a later run asks for what is open."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.config import (
    AdmissionConfig,
    RevisionBatchesConfig,
    RevisionConfig,
    RevisionPromptConfig,
    SpendingConfig,
)
from figa_core.config.revision import ModelPrice
from figa_core.errors import LLMError, NothingToDoError, OpenRevisionsError, RefusedRevisionsError
from figa_core.llm.budget import Price
from figa_core.llm.doubts import Suspicion, beyond_chance
from figa_core.llm.question import Decoding
from figa_core.llm.settings import AskerSettings
from figa_core.revision.prompt import RESPONSE_FORMAT, load_templates
from figa_core.revision.reviser import ReviserSettings
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import TeacherFault
from figa_core.storage import revisions, summary
from tasks.filter import admit
from tasks.revise import revise
from tasks.revised import check_open_rows, check_refused_rows, open_rows_warning
from tasks.revision_settings import RevisionSections, asker_settings, endpoint, reviser_settings
from tasks.score import score_revisions
from tests.figa_core.llm.misbehaving import MisbehavingServer, misbehaving_server

NOBODY = "http://127.0.0.1:9/v1"


def test_every_setting_reaches_the_reviser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "own.jinja"
    template.write_text("{{ response }}", encoding="utf-8")
    revision = RevisionConfig(
        base_url="http://127.0.0.1:9/other",
        model="m",
        requests_per_minute=11,
        tokens_per_minute=12,
        max_concurrency=13,
        max_attempts=14,
        timeout_s=15,
        temperature=0.5,
        max_tokens=16,
    )
    prompt = RevisionPromptConfig(
        with_reference=template,
        structured_output=False,
        max_edit_share=0.25,
        asked_again_max=3,
        leave_out=("stream", "max_tokens"),
    )
    batches = RevisionBatchesConfig(drain_s=17, refused_share_max=0.5)
    price = ModelPrice(usd_per_million_prompt_tokens=18, usd_per_million_completion_tokens=19)

    sections = RevisionSections(revision, prompt, batches, SpendingConfig(prices={"m": price}))

    assert asker_settings(sections) == AskerSettings(
        "revision",
        requests_per_minute=11,
        tokens_per_minute=12,
        max_concurrency=13,
        max_attempts=14,
        asked_again_max=3,
        leave_out=frozenset({"stream", "max_tokens"}),
        price=Price(18, 19),
        drain_s=17,
        suspicion=Suspicion(row=beyond_chance(0.5)),
    )
    found = reviser_settings(sections)
    assert found == ReviserSettings(Decoding(16, 0.5, None), 0.25, load_templates(template, None))
    assert found.templates.with_reference == "{{ response }}"
    structured = reviser_settings(RevisionSections(revision))
    assert structured.decoding.response_format == RESPONSE_FORMAT
    monkeypatch.setenv(revision.api_key_env, "some-key")
    asked = endpoint(revision)
    assert (asked.url, asked.model, asked.timeout_s) == ("http://127.0.0.1:9/other", "m", 15)


async def test_a_reviser_that_is_down_stops_the_run_and_a_later_run_asks_for_every_row(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    down = make_chain(NOBODY)
    down.up_to_scores()
    kept = down.filter()
    with pytest.raises(LLMError, match=r"127\.0\.0\.1:9"):
        await revise(down.workspace, down.run_id, down.sections)
    database = down.workspace.database
    assert revisions.count_open(database, down.run_id) == kept

    up = make_chain(teacher.base_url)  # another address is the same work
    result = await revise(up.workspace, up.run_id, up.sections)

    assert result.counts.n_in == kept == teacher.requests()
    assert revisions.count_open(database, up.run_id) == 0


async def test_answers_that_are_no_revision_are_rejected_and_admit_says_so(
    make_chain: Any,
) -> None:
    with TeacherProcess(faults={TeacherFault.LENGTH: 1.0}) as teacher:
        chain = make_chain(teacher.base_url)
        chain.up_to_scores()
        kept = chain.filter()
        result = await revise(chain.workspace, chain.run_id, chain.sections)

    assert result.counts.n_out == 0
    assert result.counts.reasons == {"rejected": kept}
    score_revisions.fn(chain.workspace, chain.run_id, chain.reward)
    with pytest.raises(NothingToDoError, match="'rejected'"):
        admit.fn(chain.workspace, chain.run_id, AdmissionConfig(), chain.scorer)
    counts = summary.counts(chain.workspace.database, chain.run_id, chain.generator)
    assert sum(counts.not_revised.values()) == kept
    assert all(reason.startswith("rejected: ") for reason in counts.not_revised)


async def test_a_row_whose_call_failed_for_now_is_asked_again_by_the_next_run(make_chain: Any) -> None:
    with TeacherProcess(faults={TeacherFault.SERVER_ERROR: 0.4}, seed=5) as teacher:
        chain = make_chain(teacher.base_url)
        chain.revision = chain.revision.model_copy(update={"max_attempts": 1})
        chain.up_to_scores()
        kept = chain.filter()
        first = await revise(chain.workspace, chain.run_id, chain.sections)
        failed = first.counts.reasons.get("failed", 0)
        assert 0 < failed < kept
        before = teacher.requests()

        await revise(chain.workspace, chain.run_id, chain.sections)

        assert teacher.requests() == before + failed


def _spending(budget_usd: float | None) -> SpendingConfig:
    price = ModelPrice(usd_per_million_prompt_tokens=100.0, usd_per_million_completion_tokens=400.0)
    return SpendingConfig(budget_usd=budget_usd, prices={"sandbox-teacher": price})


async def test_at_the_cap_the_rest_stays_pending_and_a_higher_cap_goes_on(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    kept = chain.filter()
    database = chain.workspace.database
    chain.revision = chain.revision.model_copy(update={"max_tokens": 64})
    chain.spending = _spending(0.5)

    first = await revise(chain.workspace, chain.run_id, chain.sections)

    spent = revisions.spent(database, chain.run_id)
    assert first.stopped_by is not None
    assert 0.25 < (spent.usd or 0.0) <= 0.5
    assert spent.estimated_usd == 0.0  # the teacher states its usage
    assert first.open_by_kind == {"not asked": kept - teacher.requests()}
    assert 0 < teacher.requests() < kept
    with pytest.raises(OpenRevisionsError, match=r"budget of \$0\.50 is reached"):
        check_open_rows(first, 0.0)
    check_open_rows(first, 1.0)

    asked = teacher.requests()
    again = await revise(chain.workspace, chain.run_id, chain.sections)
    assert again.open_rows == first.open_rows  # what is spent stays spent
    assert teacher.requests() == asked

    chain.spending = _spending(100.0)
    last = await revise(chain.workspace, chain.run_id, chain.sections)
    assert (last.open_rows, last.stopped_by) == (0, None)
    assert teacher.requests() == kept


async def test_what_calls_cost_is_stored_and_agrees_with_the_usage(
    make_chain: Any, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_scores()
    chain.filter()
    chain.spending = _spending(None)
    await revise(chain.workspace, chain.run_id, chain.sections)
    with chain.workspace.database.open() as connection:
        rows = connection.execute(
            "SELECT prompt_tokens, completion_tokens, cost_usd, reserved_usd, estimated FROM calls"
        ).fetchall()
    assert len(rows) == teacher.requests()
    for prompt, completion, cost, reserved, estimated in rows:
        assert cost == pytest.approx((prompt * 100 + completion * 400) * 1e-6)
        assert cost <= reserved
        assert not estimated


async def test_rows_that_stay_open_are_counted_by_kind_and_tolerated_up_to_a_share(
    make_chain: Any,
) -> None:
    with TeacherProcess(faults={TeacherFault.SERVER_ERROR: 0.4}, seed=5) as teacher:
        chain = make_chain(teacher.base_url)
        chain.revision = chain.revision.model_copy(update={"max_attempts": 1})
        chain.up_to_scores()
        kept = chain.filter()
        revised = await revise(chain.workspace, chain.run_id, chain.sections)
    assert set(revised.open_by_kind) == {"server_error"}
    assert 0 < revised.open_rows < kept
    with pytest.raises(OpenRevisionsError, match=r"server_error.*figa retry-revisions"):
        check_open_rows(revised, 0.0)
    check_open_rows(revised, revised.open_rows / kept)
    reasons = revisions.failures(chain.workspace.database, chain.run_id)
    assert sum(row["rows"] for row in reasons if row["asked again"] == "yes") == revised.open_rows


def _answer(server: MisbehavingServer, request: Any) -> Any:
    return server.completion(f"{request.draft} Indeed.")


async def test_an_account_that_runs_empty_ends_the_run_and_topped_up_it_goes_on_with_all_open_rows(
    make_chain: Any,
) -> None:
    """Told with a 400, as some providers do."""
    async with misbehaving_server() as server:
        chain = make_chain(server.url)
        chain.up_to_scores()
        kept = chain.filter()
        database = chain.workspace.database
        server.script = lambda number, request: (
            _answer(server, request) if number < 5 else server.error(400, "Your credit balance is too low.")
        )
        with pytest.raises(LLMError, match=r"(?s)credit balance is too low.*most frequent causes") as caught:
            await revise(chain.workspace, chain.run_id, chain.sections)
        assert "no_quota, for example" in str(caught.value)
        assert revisions.count_open(database, chain.run_id) == kept - 5
        assert revisions.count_refused(database, chain.run_id) == 0

        server.script = lambda _, request: _answer(server, request)
        before = len(server.received)
        result = await revise(chain.workspace, chain.run_id, chain.sections)
        assert (result.open_rows, len(server.received) - before) == (0, kept - 5)


async def test_an_endpoint_that_refuses_the_last_rows_is_tolerated_up_to_the_share(make_chain: Any) -> None:
    async with misbehaving_server() as server:
        chain = make_chain(server.url)
        chain.up_to_scores()
        kept = chain.filter()
        chain.revision = chain.revision.model_copy(update={"max_concurrency": 1})
        chain.batches = RevisionBatchesConfig(rows=100, failed_share_max=2 / kept)
        server.script = lambda number, request: (
            _answer(server, request) if number < kept - 2 else server.error(401, "Incorrect API key provided")
        )
        result = await revise(chain.workspace, chain.run_id, chain.sections)
    assert result.open_rows == 2
    check_open_rows(result, 2 / kept)
    assert "Incorrect API key" in str(open_rows_warning(result))


async def test_rows_that_a_filter_stops_are_refused_for_good_and_counted_apart(make_chain: Any) -> None:
    async with misbehaving_server() as server:
        chain = make_chain(server.url)
        chain.up_to_scores()
        kept = chain.filter()
        chain.revision = chain.revision.model_copy(update={"max_concurrency": 1})
        server.script = lambda number, request: (
            server.error(403, "your input was flagged") if number % 3 == 0 else _answer(server, request)
        )
        notes: list[str] = []
        result = await revise(chain.workspace, chain.run_id, chain.sections, on_note=notes.append)
    refused = len(range(0, kept, 3))
    assert (result.open_rows, result.refused_rows, notes) == (0, refused, [])
    with pytest.raises(RefusedRevisionsError, match=r"(?s)refused_share_max.*your input was flagged"):
        check_refused_rows(result, 0.2)
    check_refused_rows(result, refused / kept)


async def test_what_an_endpoint_does_not_take_is_said_once(make_chain: Any) -> None:
    async with misbehaving_server() as server:
        chain = make_chain(server.url)
        chain.up_to_scores()
        chain.filter()
        server.script = lambda _, request: (
            server.error(400, "Unsupported parameter: 'temperature'", param="temperature")
            if "temperature" in request.body
            else _answer(server, request)
        )
        notes: list[str] = []
        result = await revise(chain.workspace, chain.run_id, chain.sections, on_note=notes.append)
    assert result.open_rows == 0
    assert [note.partition(":")[0] for note in notes] == ["the endpoint does not support temperature"]
