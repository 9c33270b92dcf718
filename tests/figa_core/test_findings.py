"""Checks before a run: all findings are reported together, whatever one check does."""

from collections.abc import Iterator

from figa_core.errors import ConfigError
from figa_core.findings import Check, Finding, problem, problems_text, run_checks, shortened, warning


def two_problems(subject: str) -> Iterator[Finding]:
    yield problem("a.b", f"{subject} is wrong")
    yield problem("a.c", f"{subject} is wrong, too")


def refuses(subject: str) -> Iterator[Finding]:
    yield warning("c", "first")
    raise ConfigError("c.d: refused")


def breaks(subject: str) -> Iterator[Finding]:
    yield from {}[subject]


def fine(subject: str) -> Iterator[Finding]:
    yield warning("f", "fine all the same")


def test_every_check_reports_every_problem() -> None:
    checks = [Check("one", two_problems), Check("two", refuses), Check("three", breaks), Check("four", fine)]
    assert [str(finding) for finding in run_checks(checks, "x")] == [
        "a.b: x is wrong",
        "a.c: x is wrong, too",
        "c: first",
        "c.d: refused",
        "three: could not be checked: KeyError: 'x'",
        "f: fine all the same",
    ]


def test_checks_that_depend_on_a_failed_one_are_skipped() -> None:
    checks = [
        Check("one", refuses),
        Check("two", two_problems, after=("one",)),
        Check("three", fine, after=("two",)),
        Check("four", fine),
    ]
    assert [finding.where for finding in run_checks(checks, "x")] == ["c", "", "f"]


def test_a_warning_does_not_fail_a_check() -> None:
    checks = [Check("one", fine), Check("two", two_problems, after=("one",))]
    assert [finding.is_problem for finding in run_checks(checks, "x")] == [False, True, True]


def test_the_same_finding_is_reported_once() -> None:
    assert len(run_checks([Check("one", two_problems), Check("two", two_problems)], "x")) == 2


def test_one_problem_is_the_message_and_several_are_a_list() -> None:
    assert problems_text(["a: wrong"]) == "a: wrong"
    assert problems_text(["a: wrong", "b: wrong"]).splitlines() == [
        "2 problems to fix before the run can start:",
        "  - a: wrong",
        "  - b: wrong",
    ]


def test_a_hundred_problems_are_shortened() -> None:
    lines = problems_text([f"a{i}: wrong" for i in range(100)]).splitlines()
    assert lines[0].startswith("100 problems")
    assert lines[-1] == "  - and 80 more"
    assert len(lines) == 22


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    text = shortened("begin" + "x" * 5000 + "end", 300)
    assert len(text) <= 303
    assert text.startswith("begin")
    assert text.endswith("end")
    assert shortened("short") == "short"
