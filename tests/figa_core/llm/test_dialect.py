"""What the dialect learns from an endpoint's refusals."""

from typing import Any

import pytest

from figa_core.llm.calls import CallOutcome
from figa_core.llm.dialect import Dialect
from figa_core.llm.question import Decoding
from figa_core.llm.reply import Reply

DECODING = Decoding(5, 0.0, {"type": "json_object"})


def dialect(notes: list[str] | None = None, **changes: Any) -> Dialect:
    options: dict[str, Any] = {"bounded": False}
    return Dialect(**{**options, **changes}, on_note=(notes if notes is not None else []).append)


def fields(of: Dialect) -> dict[str, Any]:
    return of.fields(DECODING, 7)


def refused(setting: str | None, *, value: bool = False) -> Reply:
    return Reply(CallOutcome.UNSUPPORTED_SETTING, "no", setting=setting, value_refused=value)


def test_a_request_carries_what_is_set_and_declines_a_stream():
    assert set(fields(dialect())) == {"stream", "temperature", "response_format", "max_tokens"}
    assert dialect().fields(Decoding(5, None), 7) == {"stream": False, "max_tokens": 7}


def test_a_field_left_out_by_setting_is_never_sent_under_any_name():
    assert set(fields(dialect(leave_out={"stream"}))) == {
        "temperature",
        "response_format",
        "max_tokens",
    }
    unbounded = dialect(leave_out={"max_tokens"})
    assert set(fields(unbounded)) == {"stream", "temperature", "response_format"}
    assert not unbounded.adapt(refused("max_tokens"), fields(unbounded))  # the cause is something else


@pytest.mark.parametrize("setting", ["temperature", "response_format", "stream"])
def test_an_unsupported_field_is_left_out_with_one_note(setting: str):
    notes: list[str] = []
    found = dialect(notes)
    asked = fields(found)
    assert found.adapt(refused(setting), asked)
    assert found.adapt(refused(setting), asked)  # another call under way
    assert set(fields(found)) == set(asked) - {setting}
    assert notes == [f"the endpoint does not support {setting}: left out from now on (no)"]
    assert not found.adapt(refused(setting), fields(found))  # it was not sent: the cause is something else


def test_the_limit_is_renamed_then_left_out_unless_it_must_bound_the_cost():
    notes: list[str] = []
    found = dialect(notes)
    asked = fields(found)
    assert found.adapt(refused("max_tokens"), asked)
    assert found.adapt(refused("max_tokens"), asked)  # another call under way
    assert fields(found)["max_completion_tokens"] == 7
    assert found.adapt(refused("max_completion_tokens"), fields(found))
    assert found.adapt(refused("max_tokens"), asked)
    assert not any("tokens" in name for name in fields(found))
    assert notes == [
        "the endpoint does not support max_tokens: sent as max_completion_tokens from now on",
        "the endpoint does not support max_completion_tokens: left out from now on",
    ]

    bounded = dialect(bounded=True)
    assert bounded.adapt(refused("max_tokens"), fields(bounded))
    assert not bounded.adapt(refused("max_completion_tokens"), fields(bounded))
    assert fields(bounded)["max_completion_tokens"] == 7


@pytest.mark.parametrize("setting", ["temperature", "max_tokens"])
def test_a_refused_value_changes_nothing(setting: str):
    found = dialect()
    before = fields(found)
    assert not found.adapt(refused(setting, value=True), before)
    assert fields(found) == before


def test_a_refusal_of_something_else_teaches_nothing():
    found = dialect()
    assert not found.adapt(refused(None), fields(found))
    assert not found.adapt(refused("top_k"), fields(found))


def test_an_unsupported_system_message_goes_before_the_users():
    notes: list[str] = []
    found = dialect(notes)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hm."},
    ]
    assert found.messages(messages) is messages
    assert found.adapt(refused("system"), {"messages": messages})
    assert found.adapt(refused("system"), {"messages": messages})  # another call under way
    assert not found.adapt(refused("system"), {"messages": found.messages(messages)})
    assert found.messages(messages) == [{"role": "user", "content": "Be brief.\n\nHello."}, messages[2]]
    assert found.messages(messages[:1]) == [{"role": "user", "content": "Be brief."}]
    assert found.messages([]) == []
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert notes == ["the model supports no system message: its text goes before the user's from now on"]
