"""A verifier is tried on prompts of the file before anything is spent."""

from pathlib import Path

import pytest

from figa_core.errors import ConfigError
from figa_core.findings import Check, run_checks
from flows.checks.verifier import check_import, check_values

from .conftest import MakeFacts, rows


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def spec(name: str) -> dict[str, str]:
    return {"verifier": f"verifiers_to_try:{name}"}


def test_without_a_verifier_there_is_nothing_to_try(facts: MakeFacts) -> None:
    assert [*check_import(facts()), *check_values(facts())] == []


def test_it_is_tried_on_one_held_out_prompt_with_its_reference(facts: MakeFacts) -> None:
    import verifiers_to_try  # pyright: ignore[reportMissingImports]

    verifiers_to_try.seen.clear()
    asked, lines = facts(evaluation=spec("good")), list[str]()
    asked.say = lines.append
    assert [*check_import(asked), *check_values(asked)] == []
    assert lines == ["trying the verifier verifiers_to_try:good on one row"]
    [(prompt, text)] = verifiers_to_try.seen
    assert prompt == asked.prompts.held_out_prompts[0].messages[-1].content
    assert text == "An answer."


@pytest.mark.parametrize(
    ("name", "words"),
    [("none", "the verifier returned None"), ("ends", "the verifier raised SystemExit: 0")],
)
def test_one_that_fails_for_every_row_is_refused(facts: MakeFacts, name: str, words: str) -> None:
    [finding] = check_values(facts(evaluation=spec(name)))
    assert finding.is_problem
    assert finding.where == "evaluation.verifier"
    assert words in finding.text
    assert "a number from 0 to 1" in finding.text


def test_one_that_fails_for_one_row_and_not_for_the_next_is_a_warning(facts: MakeFacts) -> None:
    content = [*rows(1, reference="Bad."), *({**row, "reference": "Good."} for row in rows(24)[1:])]
    asked = facts(content, evaluation=spec("choosy"), prompts={"held_out_share": 0.0})
    [finding] = check_values(asked)
    assert not finding.is_problem
    assert "KeyError: 'boo'" in finding.text


def test_prompts_without_references_are_tried_with_a_text_of_ours(facts: MakeFacts) -> None:
    assert list(check_values(facts(rows(), evaluation=spec("good")))) == []


def test_it_is_named_before_its_module_is_imported(facts: MakeFacts) -> None:
    asked, lines = facts(evaluation={"verifier": "no_such_module:f"}), list[str]()
    asked.say = lines.append
    with pytest.raises(ConfigError, match="cannot be imported"):
        list(check_import(asked))
    assert lines == ["trying the verifier no_such_module:f on one row"]


def test_one_that_is_stopped_by_ctrl_c_stops_the_checks(facts: MakeFacts) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_checks([Check("values", check_values)], facts(evaluation=spec("stopped")))
