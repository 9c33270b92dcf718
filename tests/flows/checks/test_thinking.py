"""The settings of thoughts fit the chat template and the objectives."""

import shutil
from pathlib import Path

import pytest

from figa_core.sandbox.build import Sandbox
from flows.checks.thinking import check_thinking

from .conftest import MakeFacts

THINKS = "{# <think> #}{% if add_generation_prompt and not SWITCH|default(true) %}<think></think>{% endif %}"


@pytest.fixture
def base(sandbox: Sandbox, tmp_path: Path) -> Path:
    return shutil.copytree(sandbox.base_model, tmp_path / "base")


def thinks(model: Path, switch: str = "enable_thinking") -> None:
    path = model / "chat_template.jinja"
    path.write_text(path.read_text().rstrip("\n") + THINKS.replace("SWITCH", switch))


def findings(facts: MakeFacts, **sections: dict[str, object]) -> list[str]:
    return [str(finding) for finding in check_thinking(facts(**sections))]


@pytest.mark.usefixtures("base")
def test_a_model_that_does_not_think_needs_no_setting(facts: MakeFacts) -> None:
    assert findings(facts) == []
    [line] = findings(facts, generation={"thinking": "off"})
    assert line.startswith("generation.thinking: has no effect: neither the chat template nor")


def test_off_needs_a_template_that_can_be_told(facts: MakeFacts, base: Path) -> None:
    thinks(base, "nobodys_switch")
    [line] = findings(facts, generation={"thinking": "off"})
    assert 'ignores enable_thinking, so "off" would not keep the model from thinking' in line
    assert findings(facts) == findings(facts, generation={"thinking": "cut"}) == []


def test_a_thought_that_the_prompt_begins_cannot_be_cut(facts: MakeFacts, base: Path) -> None:
    path = base / "chat_template.jinja"
    path.write_text(path.read_text().rstrip("\n") + "{% if add_generation_prompt %}<think>{% endif %}")
    [line] = findings(facts, generation={"thinking": "cut"})
    assert 'end within a thought, so with "cut" the model would learn to answer there. Set "keep".' in line
    assert findings(facts) == []


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking"])
def test_off_is_said_once(facts: MakeFacts, base: Path, switch: str) -> None:
    thinks(base, switch)
    assert findings(facts, generation={"thinking": "off"}) == []
    both = {"thinking": "off", "chat_template_kwargs": {switch: True}}
    [line] = findings(facts, generation=both)
    assert line.endswith(f'{switch} is set by generation.thinking = "off" already. Remove one of them.')


@pytest.mark.usefixtures("base")
def test_a_variable_that_the_template_does_not_read_is_refused(facts: MakeFacts) -> None:
    [line] = findings(facts, generation={"chat_template_kwargs": {"reasoning_effort": "low"}})
    assert line.endswith("does not read 'reasoning_effort'. Remove it.")


@pytest.mark.parametrize("objective", ["sft_best", "coh"])
def test_objectives_that_cannot_put_a_thought_before_their_answers_are_refused(
    facts: MakeFacts, base: Path, objective: str
) -> None:
    thinks(base)
    [line] = findings(facts, loss={"objective": objective})
    assert line.startswith(f"loss.objective: {objective} ")
    assert findings(facts, loss={"objective": objective}, generation={"thinking": "cut"}) == []
