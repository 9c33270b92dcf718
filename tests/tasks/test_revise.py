"""The revise stage when the reviser misbehaves: no row is lost, and a later run asks for the open rows."""

from collections.abc import AsyncIterator
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
from tasks.revised import check_open_rows, check_refused_rows, open_rows_warning
from tasks.revision_settings import RevisionSections, asker_settings, endpoint, reviser_settings
from tests.figa_core.llm.misbehaving import MisbehavingServer, misbehaving_server

from .conftest import NOBODY, MakeChain


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
    make_chain: MakeChain, teacher: TeacherProcess
) -> None:
    down = make_chain(NOBODY)
    kept = down.up_to_filter()
    with pytest.raises(LLMError, match=r"127\.0\.0\.1:9"):
        await down.revise()
    database = down.workspace.database
    assert revisions.count_open(database, down.run_id) == kept

    up = make_chain(teacher.base_url)  # another address is the same work
    result = await up.revise()

    assert result.counts.n_in == kept == teacher.requests()
    assert revisions.count_open(database, up.run_id) == 0


async def test_answers_that_are_not_revisions_are_rejected_and_admit_gives_the_reason(
    make_chain: MakeChain,
) -> None:
    with TeacherProcess(faults={TeacherFault.LENGTH: 1.0}) as teacher:
        chain = make_chain(teacher.base_url)
        kept = chain.up_to_filter()
        result = await chain.revise()

    assert result.counts.n_out == 0
    assert result.counts.reasons == {"rejected": kept}
    chain.score_revisions()
    with pytest.raises(NothingToDoError, match="'rejected'"):
        admit.fn(chain.workspace, chain.run_id, AdmissionConfig(), chain.scorer)
    counts = summary.counts(chain.workspace.database, chain.run_id, chain.generator)
    assert sum(counts.not_revised.values()) == kept
    assert all(reason.startswith("rejected: ") for reason in counts.not_revised)


def _spending(budget_usd: float | None) -> SpendingConfig:
    price = ModelPrice(usd_per_million_prompt_tokens=100.0, usd_per_million_completion_tokens=400.0)
    return SpendingConfig(budget_usd=budget_usd, prices={"sandbox-teacher": price})


async def test_at_the_cap_the_rest_stays_pending_and_a_higher_cap_continues(
    make_chain: MakeChain, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    kept = chain.up_to_filter()
    database = chain.workspace.database
    chain.revision = chain.revision.model_copy(update={"max_tokens": 64})
    chain.spending = _spending(0.5)

    first = await chain.revise()

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
    again = await chain.revise()
    assert again.open_rows == first.open_rows  # what is spent stays spent
    assert teacher.requests() == asked

    chain.spending = _spending(100.0)
    last = await chain.revise()
    assert (last.open_rows, last.stopped_by) == (0, None)
    assert teacher.requests() == kept


async def test_what_calls_cost_is_stored_and_agrees_with_the_usage(
    make_chain: MakeChain, teacher: TeacherProcess
) -> None:
    chain = make_chain(teacher.base_url)
    chain.up_to_filter()
    chain.spending = _spending(None)
    await chain.revise()
    with chain.workspace.database.open() as connection:
        rows = connection.execute(
            "SELECT prompt_tokens, completion_tokens, cost_usd, reserved_usd, estimated FROM calls"
        ).fetchall()
    assert len(rows) == teacher.requests()
    for prompt, completion, cost, reserved, estimated in rows:
        assert cost == pytest.approx((prompt * 100 + completion * 400) * 1e-6)
        assert cost <= reserved
        assert not estimated


async def test_rows_that_stay_open_are_counted_by_kind_tolerated_up_to_a_share_and_asked_again(
    make_chain: MakeChain,
) -> None:
    with TeacherProcess(faults={TeacherFault.SERVER_ERROR: 0.4}, seed=5) as teacher:
        chain = make_chain(teacher.base_url)
        chain.revision = chain.revision.model_copy(update={"max_attempts": 1})
        kept = chain.up_to_filter()
        revised = await chain.revise()
        failures = revisions.failures(chain.workspace.database, chain.run_id)
        asked = teacher.requests()
        await chain.revise()
        assert teacher.requests() == asked + revised.open_rows
    assert set(revised.open_by_kind) == {"server_error"}
    assert 0 < revised.open_rows == revised.counts.reasons["failed"] < kept
    with pytest.raises(OpenRevisionsError, match=r"server_error.*figa retry-revisions"):
        check_open_rows(revised, 0.0)
    check_open_rows(revised, revised.open_rows / kept)
    assert sum(row["rows"] for row in failures if row["asked again"] == "yes") == revised.open_rows


def _answer(server: MisbehavingServer, request: Any) -> Any:
    return server.completion(f"{request.draft} Indeed.")


@pytest.fixture
async def server() -> AsyncIterator[MisbehavingServer]:
    async with misbehaving_server() as server:
        yield server


async def test_an_empty_account_ends_the_run_and_a_topped_up_one_continues_with_all_open_rows(
    make_chain: MakeChain, server: MisbehavingServer
) -> None:
    """The error has status 400, as with some providers."""
    chain = make_chain(server.url)
    kept = chain.up_to_filter()
    database = chain.workspace.database
    server.script = lambda number, request: (
        _answer(server, request) if number < 5 else server.error(400, "Your credit balance is too low.")
    )
    with pytest.raises(LLMError, match=r"(?s)credit balance is too low.*most frequent causes") as caught:
        await chain.revise()
    assert "no_quota, for example" in str(caught.value)
    assert revisions.count_open(database, chain.run_id) == kept - 5
    assert revisions.count_refused(database, chain.run_id) == 0

    server.script = lambda _, request: _answer(server, request)
    before = len(server.received)
    result = await chain.revise()
    assert (result.open_rows, len(server.received) - before) == (0, kept - 5)


async def test_an_endpoint_that_refuses_the_last_rows_is_tolerated_up_to_the_share(
    make_chain: MakeChain, server: MisbehavingServer
) -> None:
    chain = make_chain(server.url)
    kept = chain.up_to_filter()
    chain.revision = chain.revision.model_copy(update={"max_concurrency": 1})
    chain.batches = RevisionBatchesConfig(rows=100, failed_share_max=2 / kept)
    server.script = lambda number, request: (
        _answer(server, request) if number < kept - 2 else server.error(401, "Incorrect API key provided")
    )
    result = await chain.revise()
    assert result.open_rows == 2
    check_open_rows(result, 2 / kept)
    assert "Incorrect API key" in str(open_rows_warning(result))


async def test_rows_that_a_filter_stops_are_refused_for_good_and_counted_separately(
    make_chain: MakeChain, server: MisbehavingServer
) -> None:
    chain = make_chain(server.url)
    kept = chain.up_to_filter()
    chain.revision = chain.revision.model_copy(update={"max_concurrency": 1})
    server.script = lambda number, request: (
        server.error(403, "your input was flagged") if number % 3 == 0 else _answer(server, request)
    )
    notes: list[str] = []
    result = await chain.revise(on_note=notes.append)
    refused = len(range(0, kept, 3))
    assert (result.open_rows, result.refused_rows, notes) == (0, refused, [])
    with pytest.raises(RefusedRevisionsError, match=r"(?s)refused_share_max.*your input was flagged"):
        check_refused_rows(result, 0.2)
    check_refused_rows(result, refused / kept)


async def test_what_an_endpoint_does_not_accept_is_noted_once(
    make_chain: MakeChain, server: MisbehavingServer
) -> None:
    chain = make_chain(server.url)
    chain.up_to_filter()
    server.script = lambda _, request: (
        server.error(400, "Unsupported parameter: 'temperature'", param="temperature")
        if "temperature" in request.body
        else _answer(server, request)
    )
    notes: list[str] = []
    result = await chain.revise(on_note=notes.append)
    assert result.open_rows == 0
    assert [note.partition(":")[0] for note in notes] == ["the endpoint does not support temperature"]
