"""What the judge that compares answers needs before a run starts."""

from pathlib import Path
from typing import Any

from figa_core.config import PairwiseJudgeConfig
from flows.checks.facts import Facts
from flows.checks.judge import check_judge

from .conftest import PRICES, MakeFacts

JUDGE = {"model": "m"}
ASKS = '{% for message in messages %}{{ message.content }}{% endfor %}{{ first }}{{ second }}{"better": "A"}'


def findings_of(facts: MakeFacts, judge: dict[str, Any], **sections: dict[str, Any]) -> list[str]:
    config = facts(evaluation={"judge": judge}, **sections).config
    return [str(finding) for finding in check_judge(Facts(config, needs_key=False))]


def test_settings_without_a_model_have_no_effect(facts: MakeFacts) -> None:
    assert findings_of(facts, {}) == findings_of(facts, JUDGE) == []
    assert findings_of(facts, PairwiseJudgeConfig().model_dump(mode="json")) == [], "of a stored run"
    [text] = findings_of(facts, {"rubric": "Is it kind?"})
    assert text == "evaluation.judge: it has no effect without a model. Set evaluation.judge.model."


def test_a_template_is_read_and_what_it_lacks_is_named_with_all_else(
    facts: MakeFacts, tmp_path: Path
) -> None:
    (tmp_path / "mine.jinja").write_text(ASKS)
    assert findings_of(facts, {**JUDGE, "template": "mine.jinja"}) == []
    (tmp_path / "mine.jinja").write_text(ASKS.replace("{{ first }}", ""))
    wrong, unpriced = findings_of(
        facts, {"model": "j", "template": "mine.jinja"}, spending={"budget_usd": 1, "prices": PRICES}
    )
    assert wrong.startswith("evaluation.judge.template: ")
    assert "lacks the first" in wrong
    assert "spending.budget_usd needs the price of 'j'" in unpriced


def test_a_rubric_that_the_template_does_not_show_is_a_warning(facts: MakeFacts, tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text(ASKS)
    judge = {**JUDGE, "template": "mine.jinja", "rubric": "Is it kind?"}
    [text] = findings_of(facts, judge)
    assert "evaluation.judge.rubric: it has no effect" in text
    assert "mine.jinja does not show it" in text
    (tmp_path / "mine.jinja").write_text(ASKS + "{{ rubric }}")
    assert findings_of(facts, judge) == []
