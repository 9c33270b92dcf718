"""What chat templates do with roles that they do not know."""

import json

import pytest

from figa_core.chat.roles import TemplateRoles
from figa_core.records import TOOLS, Message
from tests.figa_core.chat.templates.styles import STYLES, chat_format, plain_format

ASKED = (Message("user", "x"),)
TURNS = (Message("user", "x"), Message("assistant", "y"), Message("user", "z"))
SYSTEM = (Message("system", "s"), *TURNS)
ONLY_TWO = (
    "{% for m in messages %}{% if m.role == 'user' %}U {{ m.content }}{% elif m.role == 'assistant' %}"
    "A {{ m.content }}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}A {% endif %}"
)


@pytest.mark.parametrize("name", STYLES)
def test_templates_in_use_print_every_turn_of_the_roles_they_take(name: str) -> None:
    roles = TemplateRoles(chat_format(name))
    for messages in (ASKED, TURNS):
        assert roles.refusal(messages, answered=False) is None
        assert roles.refusal(messages, answered=True) is None
        assert roles.left_out(messages) is None
    assert (roles.refusal(SYSTEM, answered=False) is None) == STYLES[name].system
    assert roles.left_out(SYSTEM) is None


def test_a_role_that_a_template_skips_is_named() -> None:
    roles = TemplateRoles(plain_format("bytes", ONLY_TWO))
    assert roles.left_out((Message("tool", "in Oslo"), *ASKED)) == "what role 'tool' says"
    assert roles.left_out(SYSTEM) == "what role 'system' says"
    assert roles.left_out(TURNS) is None
    assert roles.refusal(SYSTEM, answered=True) is None


def test_a_template_may_accept_a_conversation_and_refuse_its_answer() -> None:
    no_answer = (
        "{% if messages[-1].role == 'assistant' and messages[0].role == 'tool' %}{{ 1 / 0 }}{% endif %}"
    )
    roles = TemplateRoles(plain_format("bytes", no_answer + ONLY_TWO))
    asked = (Message("tool", "t"), *ASKED)
    assert roles.refusal(asked, answered=False) is None
    assert "ZeroDivisionError" in str(roles.refusal(asked, answered=True))


WITH_TOOLS = (
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}{{ m.role }} {{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ call.function.name }} {{ call.function.arguments | tojson }}"
    "{% endfor %}</s>{% endfor %}{% if add_generation_prompt %}A {% endif %}"
)
CALL = {"id": "call00001", "type": "function", "function": {"name": "track", "arguments": {"order": 7}}}
TOOLS_MESSAGE = Message(TOOLS, json.dumps([{"type": "function", "function": {"name": "track"}}]))
CALLING = Message.of({"role": "assistant", "content": "", "tool_calls": [CALL]})
RESULT = Message.of({"role": "tool", "content": "in Oslo", "tool_call_id": "call00001", "name": "track"})


def test_tools_calls_and_results_are_printed_by_a_template_that_knows_them() -> None:
    chat = plain_format("bytes", WITH_TOOLS)
    messages = (TOOLS_MESSAGE, *ASKED, CALLING, RESULT)
    assert TemplateRoles(chat).left_out(messages) is None
    text = chat.render(messages, for_generation=True)
    assert text.startswith('[{"type": "function", "function": {"name": "track"}}]user x</s>')
    assert 'track {"order": 7}</s>tool in Oslo</s>A ' in text


@pytest.mark.parametrize(
    ("missing", "messages", "left_out"),
    [
        ("{% if tools %}{{ tools | tojson }}{% endif %}", (TOOLS_MESSAGE, *ASKED), "the tools"),
        ("{{ call.function.name }} ", (*ASKED, CALLING, RESULT), "the tool calls of role 'assistant'"),
        ("{{ m.content }}", (*ASKED, CALLING), "what role 'user' says"),
    ],
)
def test_what_a_template_does_not_print_of_tools_is_named(
    missing: str, messages: tuple[Message, ...], left_out: str
) -> None:
    assert missing in WITH_TOOLS
    roles = TemplateRoles(plain_format("bytes", WITH_TOOLS.replace(missing, "")))
    assert roles.left_out(messages) == left_out
