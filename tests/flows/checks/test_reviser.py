"""Limits and budgets that allow no call at all, and runs that would take years."""

from typing import Any

import pytest

from figa_core.errors import ConfigError
from flows.checks.reviser import check_key, check_room, check_templates

from .conftest import PRICES, MakeFacts, rows


def findings_of(facts: MakeFacts, **sections: dict[str, Any]) -> list[str]:
    return [str(finding) for finding in check_room(facts(**sections))]


def test_the_defaults_leave_room(facts: MakeFacts) -> None:
    assert findings_of(facts) == []
    assert list(check_templates(facts())) == []


@pytest.mark.parametrize("tokens", [1e-300, 10.0])
def test_fewer_tokens_a_minute_than_a_call_needs_are_refused(facts: MakeFacts, tokens: float) -> None:
    [text] = findings_of(facts, revision={"tokens_per_minute": tokens})
    assert text.startswith(f"revision.tokens_per_minute: {tokens:g} is less than the smallest call needs")


@pytest.mark.parametrize("requests", [0.001, 1e-300])
def test_a_rate_at_which_the_calls_take_for_ever_is_a_warning(facts: MakeFacts, requests: float) -> None:
    [finding] = check_room(facts(revision={"requests_per_minute": requests}))
    assert not finding.is_problem
    assert str(finding).startswith(f"revision.requests_per_minute: at {requests:g}, ")
    assert "inf" not in str(finding)


def test_a_budget_below_one_call_is_refused_and_one_above_is_not(facts: MakeFacts) -> None:
    [text] = findings_of(facts, spending={"budget_usd": 1e-6, "prices": PRICES})
    assert text.startswith("spending.budget_usd: $1e-06 is less than must be reserved")
    assert findings_of(facts, spending={"budget_usd": 0.05, "prices": PRICES}) == []
    assert findings_of(facts, spending={"prices": PRICES}) == []


def test_the_smallest_call_decides_not_the_first(facts: MakeFacts) -> None:
    long = {"prompt": "word " * 10_000}
    assert list(check_room(facts([long, *rows()], revision={"tokens_per_minute": 5000}))) == []


def test_a_key_is_required_only_if_it_is_needed(facts: MakeFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIGA_TEST_NO_KEY", raising=False)
    asked = facts(revision={"api_key_env": "FIGA_TEST_NO_KEY"})
    with pytest.raises(ConfigError, match="FIGA_TEST_NO_KEY is empty"):
        list(check_key(asked))
    asked.needs_key = False
    assert list(check_key(asked)) == []
    monkeypatch.setenv("FIGA_TEST_NO_KEY", "a-key\n")
    asked.needs_key = True
    assert list(check_key(asked)) == []
