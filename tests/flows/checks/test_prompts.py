"""Prompts files that cannot be used, or do not fit the settings."""

from pathlib import Path
from typing import Any

import pytest

from figa_core.errors import InputError
from figa_core.findings import Finding
from flows.checks import facts as facts_module
from flows.checks.facts import Facts
from flows.checks.prompts import check_rows, check_uses

from .conftest import MakeFacts, Rows, rows, write_rows


def the_one(found: list[Finding], *, problem: bool) -> str:
    [finding] = found
    assert finding.is_problem is problem
    return str(finding)


def test_a_good_file_gives_no_findings(facts: MakeFacts) -> None:
    good = facts()
    assert [*check_rows(good), *check_uses(good)] == []


@pytest.mark.parametrize(
    "content",
    [[{"question": f"Q{i}"} for i in range(5)], [{"prompt": ""}, {"prompt": 7}, {"prompt": []}]],
)
def test_a_file_of_which_no_row_can_be_used_is_refused_with_the_reasons(
    facts: MakeFacts, content: Rows
) -> None:
    text = the_one(list(check_rows(facts(content))), problem=True)
    assert f"none of its {len(content)} rows can be used" in text
    assert "(row 1)" in text


def test_an_empty_file_is_refused(facts: MakeFacts) -> None:
    assert "prompts.jsonl has no rows" in the_one(list(check_rows(facts([]))), problem=True)


def test_rows_that_are_left_out_are_counted_by_reason(facts: MakeFacts) -> None:
    content = [*rows(20), *({"prompt": " "} for _ in range(3)), {"text": "x"}, {"prompt": [1]}]
    text = the_one(list(check_rows(facts(content))), problem=False)
    assert "5 of its 25 rows cannot be used and are left out" in text
    assert "3: the prompt is empty (row 21)" in text
    text = the_one(list(check_rows(facts([*rows(20), {"prompt": ""}]))), problem=False)
    assert "1 of its 21 rows cannot be used and are left out (1: the prompt is empty (row 21))" in text


def test_a_reference_field_that_no_row_has_is_a_warning_if_it_was_set(facts: MakeFacts) -> None:
    content = rows(reference="An answer.")
    text = the_one(list(check_uses(facts(content, prompts={"reference_field": "gold"}))), problem=False)
    assert text.startswith("prompts.reference_field: no row has a reference in the field 'gold'.")
    for silent in ({"reference_field": "reference"}, {"reference_field": "none"}):
        assert list(check_uses(facts(content, prompts=silent))) == []
    assert list(check_uses(facts(rows()))) == []


def test_a_type_field_that_no_row_has_is_a_warning(facts: MakeFacts) -> None:
    typed = {"type_field": "kind"}
    text = the_one(list(check_uses(facts(rows(reference="An answer."), prompts=typed))), problem=False)
    assert text.startswith("prompts.type_field: no row has a type in the field 'kind'.")
    assert list(check_uses(facts(rows(reference="An answer.", kind="sums"), prompts=typed))) == []


def test_only_the_beginning_of_a_long_file_is_read(facts: MakeFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_module, "ROWS_READ", 10)
    long = facts([*({"prompt": ""} for _ in range(10)), *rows(10)])
    assert "none of its first 10 rows can be used" in the_one(list(check_rows(long)), problem=True)
    assert not long.prompts.whole


def test_a_file_with_exactly_as_many_rows_as_are_read_is_whole(
    facts: MakeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_module, "ROWS_READ", 10)
    assert facts(rows(10)).prompts.whole
    assert not facts(rows(11)).prompts.whole
    assert facts(rows(11), prompts={"limit": 10}).prompts.whole


def test_a_prompt_that_comes_twice_counts_once(facts: MakeFacts) -> None:
    found = facts([*rows(10), *rows(10)]).prompts
    assert (found.rows, found.usable, found.unusable) == (20, 10, 0)


@pytest.mark.parametrize(
    ("held_out_share", "words", "is_problem"),
    [(0.999, "leaves none to train on", True), (0.0, "holds out no prompt", False)],
)
def test_a_held_out_share_that_leaves_one_side_empty_is_reported(
    facts: MakeFacts, held_out_share: float, words: str, is_problem: bool
) -> None:
    found = list(check_uses(facts(prompts={"held_out_share": held_out_share})))
    text = the_one(found, problem=is_problem)
    assert text.startswith(f"prompts.held_out_share: {held_out_share:g}")
    assert words in text
    assert "24 usable prompts" in text


def test_a_limit_that_leaves_one_side_empty_is_named(facts: MakeFacts) -> None:
    found = list(check_uses(facts(prompts={"limit": 1}, training={"pairs_per_step": 1})))
    assert "in its first 1 rows (prompts.limit)" in str(found[0])


@pytest.mark.parametrize(
    ("sections", "setting"),
    [
        ({"loss": {"objective": "sft"}}, "loss.objective"),
        ({"evaluation": {"baselines": ["sft_revised", "sft"]}}, "evaluation.baselines"),
    ],
)
def test_sft_without_a_reference_is_refused(
    facts: MakeFacts, sections: dict[str, dict[str, Any]], setting: str
) -> None:
    text = the_one(list(check_uses(facts(rows(), **sections))), problem=True)
    assert text.startswith(f"{setting}: sft trains on references (prompts.reference_field = 'reference')")
    assert list(check_uses(facts(**sections))) == []


def test_sft_whose_references_may_come_later_in_the_file_is_a_warning(
    facts: MakeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_module, "ROWS_READ", 10)
    found = list(check_uses(facts(rows(20), loss={"objective": "sft"})))
    assert "none of the first 10 rows has one" in the_one(found, problem=False)


def test_a_step_that_leaves_only_a_few_updates_is_a_warning(facts: MakeFacts) -> None:
    text = the_one(list(check_uses(facts(training={"pairs_per_step": 128}))), problem=False)
    assert text.startswith("training.pairs_per_step: a step takes 128 pairs, but these prompts give at most ")
    assert "at most 3 updates" in text
    many = {"generation": {"samples_per_prompt": 64}, "filter": {"samples_kept": "all"}}
    assert list(check_uses(facts(training={"pairs_per_step": 128}, **many))) == []
    assert list(check_uses(facts(training={"pairs_per_step": 128, "epochs": 100}))) == []
    assert list(check_uses(facts(training={"pairs_per_step": "auto"}))) == []
    assert list(check_uses(facts(training={"pairs_per_step": 1, "epochs": "auto"}))) == []
    automatic = list(check_uses(facts(training={"pairs_per_step": 128, "epochs": "auto"})))
    assert "at most 3 updates" in the_one(automatic, problem=False)


def test_a_missing_file_is_an_error(facts: MakeFacts, tmp_path: Path) -> None:
    missing: Facts = facts()
    (tmp_path / "prompts.jsonl").unlink()
    with pytest.raises(InputError, match="no such file of prompts"):
        list(check_rows(missing))
    write_rows(tmp_path / "prompts.jsonl", rows())
    assert list(check_rows(missing)) == []


def test_references_that_are_the_prompts_themselves_are_a_warning(facts: MakeFacts) -> None:
    echoes = [{"prompt": f"Question number {i}?", "reference": f" Question number {i}?"} for i in range(12)]
    others = rows(24, reference="An answer.")[12:]
    text = the_one(list(check_uses(facts([*echoes, *others]))), problem=False)
    assert text.startswith(
        "prompts.reference_field: 12 of 24 references in the field 'reference' are the prompt"
    )
    assert list(check_uses(facts([*echoes[:11], *others, *rows(1, reference="An answer.")]))) == []


def test_files_and_directories_that_are_not_read_are_a_warning(facts: MakeFacts, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    (directory / "more").mkdir(parents=True)
    write_rows(directory / "a.jsonl", rows())
    assert list(check_rows(facts(prompts={"path": "data"}))) == []
    write_rows(directory / "more" / "b.jsonl", rows())
    for number in range(6):
        (directory / f"c{number}.csv").write_text("prompt\n")
    text = the_one(list(check_rows(facts(prompts={"path": "data"}))), problem=False)
    assert "c0.csv, c1.csv, c2.csv, c3.csv, c4.csv and 2 more in it are not read" in text


def test_words_for_nothing_as_references_are_a_warning(facts: MakeFacts) -> None:
    empty = [{"prompt": f"Which one is {i}?", "reference": "nan"} for i in range(3)]
    text = the_one(list(check_uses(facts([*rows(21, reference="An answer."), *empty]))), problem=False)
    assert text.startswith("prompts.reference_field: 3 of 24 references in the field 'reference' are 'nan'")
    assert list(check_uses(facts([*rows(21, reference="An answer."), *empty[:2]]))) == []
    assert list(check_uses(facts(rows(24, reference="Nan is a bread.")))) == []
