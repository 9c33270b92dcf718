"""What an endpoint's refusals teach about its dialect."""

from typing import Any

import pytest

from figa_core.llm.calls import CallOutcome
from figa_core.llm.reply import Reply
from figa_core.revision.dialect import Dialect


def dialect(notes: list[str] | None = None, **changes: Any) -> Dialect:
    options: dict[str, Any] = {"temperature": 0.0, "structured": True, "bounded": False}
    return Dialect(**{**options, **changes}, on_note=(notes if notes is not None else []).append)


def refused(setting: str | None, *, value: bool = False) -> Reply:
    return Reply(CallOutcome.UNSUPPORTED_SETTING, "no", setting=setting, value_refused=value)


def test_a_request_carries_what_is_set_and_declines_a_stream():
    assert set(dialect().fields(7)) == {"stream", "temperature", "response_format", "max_tokens"}
    assert dialect(temperature=None, structured=False).fields(7) == {"stream": False, "max_tokens": 7}


def test_what_is_left_out_by_setting_is_never_sent_under_any_name():
    assert set(dialect(leave_out={"stream"}).fields(7)) == {"temperature", "response_format", "max_tokens"}
    unbounded = dialect(leave_out={"max_tokens"})
    assert set(unbounded.fields(7)) == {"stream", "temperature", "response_format"}
    assert not unbounded.adapt(refused("max_tokens"), unbounded.fields(7))  # something else is wrong


@pytest.mark.parametrize("setting", ["temperature", "response_format", "stream"])
def test_a_field_that_is_not_taken_is_left_out_and_said_once(setting: str):
    notes: list[str] = []
    found = dialect(notes)
    asked = found.fields(7)
    assert found.adapt(refused(setting), asked)
    assert found.adapt(refused(setting), asked)  # a call of the same moment
    assert set(found.fields(7)) == set(asked) - {setting}
    assert notes == [f"the endpoint does not take {setting}: left out from now on (no)"]
    assert not found.adapt(refused(setting), found.fields(7))  # it was not sent: something else is wrong


def test_the_limit_is_renamed_then_left_out_unless_it_must_bound_the_cost():
    notes: list[str] = []
    found = dialect(notes)
    asked = found.fields(7)
    assert found.adapt(refused("max_tokens"), asked)
    assert found.adapt(refused("max_tokens"), asked)  # a call of the same moment
    assert found.fields(7)["max_completion_tokens"] == 7
    assert found.adapt(refused("max_completion_tokens"), found.fields(7))
    assert found.adapt(refused("max_tokens"), asked)
    assert not any("tokens" in name for name in found.fields(7))
    assert notes == [
        "the endpoint does not take max_tokens: sent as max_completion_tokens from now on",
        "the endpoint does not take max_completion_tokens: left out from now on",
    ]

    bounded = dialect(bounded=True)
    assert bounded.adapt(refused("max_tokens"), bounded.fields(7))
    assert not bounded.adapt(refused("max_completion_tokens"), bounded.fields(7))
    assert bounded.fields(7)["max_completion_tokens"] == 7


@pytest.mark.parametrize("setting", ["temperature", "max_tokens"])
def test_a_value_that_is_refused_changes_nothing(setting: str):
    found = dialect()
    before = found.fields(7)
    assert not found.adapt(refused(setting, value=True), before)
    assert found.fields(7) == before


def test_a_refusal_of_something_else_teaches_nothing():
    found = dialect()
    assert not found.adapt(refused(None), found.fields(7))
    assert not found.adapt(refused("top_k"), found.fields(7))


def test_a_system_message_that_is_not_taken_goes_before_the_users():
    notes: list[str] = []
    found = dialect(notes)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hm."},
    ]
    assert found.messages(messages) is messages
    assert found.adapt(refused("system"), {"messages": messages})
    assert found.adapt(refused("system"), {"messages": messages})  # a call of the same moment
    assert not found.adapt(refused("system"), {"messages": found.messages(messages)})
    assert found.messages(messages) == [{"role": "user", "content": "Be brief.\n\nHello."}, messages[2]]
    assert found.messages(messages[:1]) == [{"role": "user", "content": "Be brief."}]
    assert found.messages([]) == []
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    assert notes == ["the model takes no system message: its text goes before the user's from now on"]
