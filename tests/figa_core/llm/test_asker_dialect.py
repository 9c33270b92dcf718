"""Request fields that an endpoint does not support."""

import pytest

from figa_core.records import RevisionStatus
from tests.figa_core.llm.misbehaving import REVISED
from tests.figa_core.llm.runs import Runner, make_rows


async def test_a_model_that_requires_the_new_name_of_the_limit_gets_it(server, runner: Runner):
    def script(number, request):
        if "max_tokens" in request.body:
            return server.error(
                400, "use max_completion_tokens", param="max_tokens", code="unsupported_parameter"
            )
        return server.completion(REVISED)

    server.script = script
    revisions = await runner.revise(make_rows(20), max_concurrency=4)
    assert {(r.status, r.attempts) for r in revisions} == {(RevisionStatus.SUCCEEDED, 1)}
    assert len(server.received) <= 24


@pytest.mark.parametrize(
    "refusal",
    [
        {"param": "response_format", "code": "unsupported_parameter"},
        {"param": "response_format.json_schema"},
        {},
    ],
)
async def test_an_endpoint_without_structured_output_is_asked_for_plain_text_from_then_on(
    server, runner: Runner, refusal
):
    def script(number, request):
        if "response_format" in request.body:
            return server.error(400, "response_format of type json_schema is not supported", **refusal)
        return server.completion(REVISED)

    server.script = script
    revisions = await runner.revise(make_rows(20), max_concurrency=4)
    assert {(r.status, r.attempts) for r in revisions} == {(RevisionStatus.SUCCEEDED, 1)}
    refused = sum("response_format" in request.body for request in server.received)
    assert 1 <= refused <= 4  # those that were under way together


async def test_fields_left_out_by_setting_are_in_no_request(server, runner: Runner):
    server.in_turn(server.completion(REVISED, "length"), server.completion(REVISED))
    await runner.revise(make_rows(1), leave_out=frozenset({"max_tokens", "stream"}))
    assert len(server.received) == 2
    for request in server.received:
        assert not {"max_tokens", "max_completion_tokens", "stream"} & request.body.keys()
