"""What chat templates do with roles that they do not know."""

import pytest

from figa_core.chat.roles import TemplateRoles
from figa_core.records import Message
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
    assert roles.left_out((Message("tool", "in Oslo"), *ASKED)) == "tool"
    assert roles.left_out(SYSTEM) == "system"
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
