"""What a weighting by an LLM needs before a run starts."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import ConfigError
from flows.checks.grader import check_grader, check_key, check_template
from tasks.grading_settings import GradingSections, grader_settings

from .conftest import PRICES, MakeFacts

GRADED = {"scheme": "llm_graded"}


def findings_of(facts: MakeFacts, **sections: dict[str, Any]) -> list[str]:
    return [str(finding) for finding in check_grader(facts(**sections))]


def test_other_weightings_need_no_grader_and_one_has_no_effect(facts: MakeFacts) -> None:
    assert findings_of(facts) == []
    [text] = findings_of(facts, grader={"model": "g"})
    assert "'levenshtein' grades no words: it has no effect" in text


@pytest.mark.parametrize("scheme", ["llm_graded", "llm_binary"])
def test_a_grader_needs_a_model(facts: MakeFacts, scheme: str) -> None:
    [text] = findings_of(facts, weighting={"scheme": scheme})
    assert text == f"grader.model: weighting.scheme = '{scheme}' needs an LLM that grades words. Name one."
    assert findings_of(facts, weighting={"scheme": scheme}, grader={"model": "g"}) == []
    sections = GradingSections.of(facts(weighting={"scheme": scheme}).config)
    assert sections is not None
    with pytest.raises(ConfigError, match=r"needs grader\.model"):
        grader_settings(sections)


def test_a_budget_needs_the_graders_price_too(facts: MakeFacts) -> None:
    spending = {"budget_usd": 1, "prices": PRICES}
    [text] = findings_of(facts, weighting=GRADED, grader={"model": "g"}, spending=spending)
    assert "spending.budget_usd needs the price of 'g'" in text
    assert findings_of(facts, weighting=GRADED, grader={"model": "m"}, spending=spending) == []


def test_scores_that_no_objective_uses_are_a_warning(facts: MakeFacts) -> None:
    loss = {"objective": "sft_revised"}
    [finding] = check_grader(facts(weighting=GRADED, grader={"model": "g"}, loss=loss))
    assert not finding.is_problem
    assert "llm_graded pays for scores that none of the objectives uses (sft_revised)" in str(finding)


def test_the_key_and_the_address_are_the_revisers_unless_the_grader_has_its_own(
    facts: MakeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIGA_TEST_REVISER_KEY", "a-key")
    monkeypatch.delenv("FIGA_TEST_GRADER_KEY", raising=False)
    revision = {"api_key_env": "FIGA_TEST_REVISER_KEY"}
    assert list(check_key(facts(weighting=GRADED, revision=revision))) == []
    own = {"api_key_env": "FIGA_TEST_GRADER_KEY", "model": "g"}
    asked = facts(weighting=GRADED, revision=revision, grader=own)
    with pytest.raises(ConfigError, match=r"grader\.api_key_env: .*FIGA_TEST_GRADER_KEY is empty"):
        list(check_key(asked))
    asked.needs_key = False
    assert list(check_key(asked)) == []
    assert list(check_key(facts(revision=revision, grader=own))) == []


def test_a_template_that_cannot_be_filled_in_is_refused_if_it_is_used(
    facts: MakeFacts, tmp_path: Path
) -> None:
    (tmp_path / "own.jinja").write_text("{{ draft }}", encoding="utf-8")
    with pytest.raises(ConfigError, match="uses draft"):
        list(check_template(facts(weighting=GRADED, grader={"template": "own.jinja"})))
    assert list(check_template(facts(grader={"template": "own.jinja"}))) == []


def test_shared_limits_are_for_the_same_model_at_the_same_address(facts: MakeFacts) -> None:
    def limit(**grader: str) -> str | None:
        batches = {"shared_limit": "limits"}
        found = GradingSections.of(facts(weighting=GRADED, grader=grader, revision_batches=batches).config)
        assert found is not None
        return found.shared_limit

    assert limit(model="m") == "limits"
    assert limit(model="g") is None
    assert limit(model="m", base_url="http://127.0.0.1:9/v1") is None
