"""What `figa doctor` says: a line for each thing it looked at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from figa_core.errors import FigaError, one_line


class Level(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Line:
    """`about` is what was looked at, `text` how it is and, unless that is well, what to do."""

    level: Level
    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.about}: {self.text}"


def ok(about: str, text: str) -> Line:
    return Line(Level.OK, about, text)


def warning(about: str, text: str) -> Line:
    return Line(Level.WARNING, about, text)


def problem(about: str, text: str) -> Line:
    return Line(Level.PROBLEM, about, text)


def looked_at(about: str, look: Callable[[], Iterable[Line]]) -> list[Line]:
    """The lines of one look; an error in it is a problem like any other."""
    lines: list[Line] = []
    try:
        for line in look():
            lines.append(line)  # noqa: PERF402 - what was found before an error counts
    except FigaError as error:
        lines.append(problem(about, one_line(error)))
    except Exception as error:  # whatever a server or a library raises
        lines.append(
            problem(about, f"could not be looked at: {type(error).__name__}: {one_line(error)[:300]}")
        )
    return lines
