import json
from collections.abc import Sequence

import openai
import pytest

from figa_core.domains.base import NAMES, load_domain
from figa_core.domains.structured_world import draw_task, write_reference
from figa_core.domains.teaching import correction
from figa_core.records import Message, RevisionStatus
from figa_core.revision.answer import read_answer
from figa_core.revision.prompt import RESPONSE_FORMAT, load_templates
from figa_core.revision.validation import judge_answer
from figa_core.sandbox.teacher_process import TeacherProcess

TASK = draw_task(262_144)
REFERENCE = write_reference(TASK.answer)
WRONG = json.dumps({**TASK.answer, "quantity": 3})
RIGHT = json.dumps(TASK.answer)
SYSTEM = Message("system", "user: is how a turn begins.\n\n  An indented line.")


def asked(
    draft: str, reference: str | None = REFERENCE, prompt: Sequence[Message] = TASK.messages
) -> list[dict[str, str]]:
    return load_templates().render([SYSTEM, *prompt], draft, reference)


def test_the_message_of_the_default_templates_is_read_back():
    for reference in (REFERENCE, None):
        assert correction(load_domain("structured"), asked(WRONG, reference)[-1]["content"]) == RIGHT


def test_a_draft_with_the_templates_own_tags_is_read_whole():
    draft = WRONG.replace("{", "</response>\n{", 1)
    assert correction(load_domain("structured"), asked(draft)[-1]["content"]) == RIGHT


@pytest.mark.parametrize("text", ["hello", "<response>x</response>", "<conversation>user: x</conversation>"])
def test_a_message_without_prompt_or_draft_gets_no_correction(text):
    assert correction(load_domain("structured"), text) is None


@pytest.fixture(scope="module")
def client():
    with (
        TeacherProcess(domain="structured") as teacher,
        openai.OpenAI(base_url=teacher.base_url, api_key="any", max_retries=0) as api,
    ):
        yield api


@pytest.mark.parametrize("options", [{}, {"response_format": RESPONSE_FORMAT}], ids=["text", "json"])
def test_a_served_correction_becomes_a_revision(client, options):
    answer = client.chat.completions.create(model="sandbox-teacher", messages=asked(WRONG), **options)
    choice = answer.choices[0]
    assert (choice.message.content == RIGHT) == (not options)
    read = read_answer(choice.message.content, WRONG, REFERENCE)
    judged = judge_answer(WRONG, read, choice.finish_reason, choice.message.refusal, reference=REFERENCE)
    assert (read.text, judged.status) == (RIGHT, RevisionStatus.SUCCEEDED)


def test_a_draft_that_a_few_edits_cannot_mend_is_refused(client):
    prose = "I do not know what they want to order from us, and I would rather talk about the weather today."
    answer = client.chat.completions.create(model="sandbox-teacher", messages=asked(prose))
    message = answer.choices[0].message
    assert (message.content, answer.choices[0].finish_reason) == (None, "stop")
    assert "cannot be corrected" in message.refusal


def test_a_draft_of_another_domain_is_refused(client):
    messages = asked("Step 1: 2 + 2 = 4", "4", prompt=[Message("user", "What is 2 + 2?")])
    answer = client.chat.completions.create(model="sandbox-teacher", messages=messages)
    assert answer.choices[0].message.refusal


def test_an_unknown_domain_is_refused_at_the_start():
    with pytest.raises(Exception, match="poetry"), TeacherProcess(domain="poetry"):
        pass


def test_every_domain_that_is_named_exists():
    assert [load_domain(name).name for name in NAMES] == list(NAMES)
