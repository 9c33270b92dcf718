"""Single failed rows and failed stages."""

import pytest

from figa_core.row_failures import Failed, failure_kind, failures_text, hopeless, too_many


@pytest.mark.parametrize(
    ("failed", "rows", "many"),
    [
        (0, 0, False), (0, 9, False), (1, 1, True), (1, 2, False), (2, 2, True), (2, 5, False), (3, 5, True),
        (3, 29, True), (3, 30, False), (100, 1000, False), (101, 1000, True),
    ],
)  # fmt: skip
def test_all_rows_or_more_than_a_tenth_are_too_many(failed: int, rows: int, many: bool) -> None:
    assert too_many(failed, rows) is many


def test_a_stage_that_fails_for_most_of_its_first_rows_is_hopeless() -> None:
    assert hopeless(200, 399)
    assert not hopeless(200, 400)
    assert not hopeless(199, 199)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("too long for the model (9 tokens, at most 8)", "too long for the model"),
        ("the verifier raised KeyError: 'x'", "the verifier raised KeyError"),
        ("the verifier raised KeyError", "the verifier raised KeyError"),
        ("the verifier returned 57, which is not between 0 and 1",
         "the verifier returned what is not between 0 and 1"),
        ("the verifier returned 'a, which is', which is no text", "the verifier returned what is no text"),
        ("the template refuses this: no system (roles: system,\n user)",
         "the template refuses this: no system"),
    ],
)  # fmt: skip
def test_reasons_are_counted_without_the_details_of_the_row(reason: str, kind: str) -> None:
    assert failure_kind(reason) == kind


def test_the_most_frequent_reasons_come_first_each_with_an_example() -> None:
    failed = [Failed("rare", 1, "d", "rare"), Failed("a", 2, "b", "a (c)")]
    failed += [Failed("m", 1200, "e", "m"), Failed("n", 3, "f", "n")]
    assert failures_text(failed) == (
        "1,200 × m (such as e); 3 × n (such as f); 2 × a (such as b: a (c)); 1 more reason"
    )
    assert failures_text(failed[:1]) == "1 × rare (such as d)"
