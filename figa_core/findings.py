"""The findings of the checks before a run: problems, which end it, and warnings, which do not.

All are reported at once. A check is a function that yields findings. An exception in one is a problem like
the others, never a traceback. A check that makes sense only `after` others is skipped silently if one of
those found a problem.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from figa_core.errors import FigaError

Subject = TypeVar("Subject")

_TEXT_MAX = 700
_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """`where` is a setting or a file ("" if the text names it), `text` what is wrong and what to do."""

    where: str
    text: str
    is_problem: bool = True

    def __str__(self) -> str:
        return shortened(f"{self.where}: {self.text}" if self.where else self.text)


def problem(where: str, text: str) -> Finding:
    """Something that must be changed before the run can start."""
    return Finding(where, text)


def warning(where: str, text: str) -> Finding:
    """Something that people should know but that stops nothing."""
    return Finding(where, text, is_problem=False)


@dataclass(frozen=True, slots=True)
class Check(Generic[Subject]):
    """`about` names what is checked, in words; `after` names the checks that must pass first."""

    about: str
    find: Callable[[Subject], Iterable[Finding]]
    after: tuple[str, ...] = ()


def run_checks(checks: Sequence[Check[Subject]], subject: Subject) -> list[Finding]:
    """All findings of the checks, in their order, each once."""
    found: dict[Finding, None] = {}
    failed: set[str] = set()
    for check in checks:
        if failed.isdisjoint(check.after):
            findings = _findings(check, subject)
            found.update(dict.fromkeys(findings))
            if not any(finding.is_problem for finding in findings):
                continue
        failed.add(check.about)
    return list(found)


def problems_text(problems: Sequence[object]) -> str:
    """One message for all of them: a single problem by itself, several as a list."""
    if len(problems) == 1:
        return str(problems[0])
    shown = [f"  - {each}" for each in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > _PROBLEMS_SHOWN:
        shown.append(f"  - and {len(problems) - _PROBLEMS_SHOWN} more")
    return "\n".join([f"{len(problems)} problems to fix before the run can start:", *shown])


def shortened(text: str, length: int = _TEXT_MAX) -> str:
    """`text` without its middle if it is longer: the problem comes first in a message, the remedy last."""
    if len(text) <= length:
        return text
    return f"{text[: 2 * length // 3]} … {text[-length // 3 :]}"


def _findings(check: Check[Subject], subject: Subject) -> list[Finding]:
    """The findings of one check until its end, or until it raises."""
    findings: list[Finding] = []
    try:
        for finding in check.find(subject):
            findings.append(finding)  # noqa: PERF402 - what was found before an exception counts
    except FigaError as error:
        findings.append(problem("", str(error)))
    except Exception as error:  # whatever a user's file makes a library raise
        findings.append(problem(check.about, f"could not be checked: {type(error).__name__}: {error}"))
    return findings
