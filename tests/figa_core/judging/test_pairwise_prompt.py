"""A user's own instructions to a judge of two answers: what they must have, and that they are used."""

from pathlib import Path

import pytest

from figa_core.errors import ConfigError
from figa_core.judging.pairwise import PairwiseSettings
from figa_core.judging.pairwise_prompt import load_template, shows_rubric
from figa_core.ports import ComparisonRequest
from figa_core.records import Message

CONVERSATION = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
ANSWERS = "1: {{ first }}\n2: {{ second }}\n"
FORM = 'Answer {"better": "A"}, {"better": "B"} or {"better": "tie"}.'
WHOLE = CONVERSATION + ANSWERS + FORM
REQUEST = ComparisonRequest("j", (Message("user", "Why?"),), "one", "two")


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.jinja"
    path.write_text(text)
    return path


def test_own_instructions_are_sent_and_make_other_judgements(tmp_path: Path) -> None:
    own = PairwiseSettings("m", load_template(written(tmp_path, WHOLE)))
    [message] = own.render(REQUEST)
    assert message["content"].startswith("user: Why?\n1: one\n2: two\nAnswer")
    usual = PairwiseSettings.built_in("m")
    assert usual.template == load_template(None)
    assert own.comparison_id("a", "b") != usual.comparison_id("a", "b")
    assert own.judgement_id(REQUEST) != usual.judgement_id(REQUEST)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (WHOLE.replace("{{ first }}", "one"), r"lacks the first\. Put \{\{ first \}\} in"),
        (WHOLE.replace("{{ second }}", "two"), "lacks the second"),
        (ANSWERS + FORM, r"lacks the conversation: put each message\.role"),
        (CONVERSATION + ANSWERS + "Which is better?", "lacks an example of an answer"),
        (CONVERSATION + ANSWERS + 'Answer {"winner": "A"}.', "lacks an example of an answer"),
        (CONVERSATION + ANSWERS + 'Answer {"better": "1"}.', "lacks an example of an answer"),
        (WHOLE + "{{ answer }}", "uses answer, but has only first, messages, rubric, second"),
        (WHOLE + "{% if", "line 4: not a Jinja2 template"),
    ],
)
def test_instructions_by_which_no_judge_could_answer_are_refused(text: str, why: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=f"(?s)mine\\.jinja.*{why}"):
        load_template(path)


def test_everything_that_instructions_lack_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the conversation: .*; it lacks an example"):
        load_template(written(tmp_path, ANSWERS))
    with pytest.raises(ConfigError, match=r"none\.jinja: cannot read the prompt template"):
        load_template(tmp_path / "none.jinja")


def test_whether_instructions_show_the_rubric_is_known(tmp_path: Path) -> None:
    assert shows_rubric(load_template(None))
    assert not shows_rubric(load_template(written(tmp_path, WHOLE)))
