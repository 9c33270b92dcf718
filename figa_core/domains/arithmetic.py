"""Step-wise arithmetic: a word problem is to be solved in steps, each an equation on a line of its own.

The types of prompts are graded: two sums, four of them, a product and a sum, and with a division at the end.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from figa_core.domains.arithmetic_world import (
    KINDS,
    VERSION,
    Problem,
    Step,
    draw_problem,
    write_plain,
    write_reference,
)
from figa_core.domains.base import Domain, Row, least_edited, task_numbers, user_texts
from figa_core.records import Message

STEPS_WEIGHT, ANSWER_WEIGHT, FORM_WEIGHT = 0.5, 0.4, 0.1
HALF_RIGHT = 0.5
"""For a step that is set up right and has a wrong result, or is right but for an earlier step's result."""

_NUMBER = r"\d{1,3}(?:,\d{3})+(?!\d)|\d{1,9}"
_SIGN = {"+": "+", "-": "-", "−": "-", "–": "-", "*": "*", "×": "*", "x": "*", "·": "*", "/": "/", "÷": "/"}
_EQUATION = re.compile(
    rf"(?<![\d.,])(?P<left>{_NUMBER})(?P<before>\s*)(?P<sign>[+\-−–*×x·/÷])(?P<after>\s*)"
    rf"(?P<right>{_NUMBER})(?P<is>\s*=\s*)(?P<result>-?(?:{_NUMBER}))"
    r"(?!\d|[.,]\d|\s*[=+\-−–*×x·/÷]\s*\d)"  # of a chain of equations the last counts
)
_STEP = re.compile(r"\s*Step (?P<number>\d+):", re.IGNORECASE)
_ANSWER = re.compile(
    rf"\s*(?:The )?(?:final )?Answer\s*(?::|is)\D*?(?P<number>-?(?:{_NUMBER}))(?!\d|[.,]\d)", re.IGNORECASE
)
_LIST_NUMBER = re.compile(r"\A\d{1,2}[.)]\s+")
_PROBLEM = re.compile(r"\bProblem (\d{6})\.")
_LENGTH_MAX, _LINES_MAX = 20_000, 60  # of a solution that is read


def rows(count: int, seed: int) -> Iterator[Row]:
    """Rows with different problems, drawn by `seed`.

    Raises:
        ValueError: there are not so many.
    """
    for number in task_numbers(count, seed):
        problem = draw_problem(number)
        yield Row(
            id=f"arithmetic-{number}",
            prompt=[message.as_dict() for message in problem.messages],
            reference=write_reference(problem),
            type=problem.kind,
        )


def verify(messages: Sequence[Message], text: str) -> float:
    """Score a solution from 0 to 1: its steps in order, its answer and its form.

    An equation too many counts as a wrong step. The form is right if there is nothing but numbered steps of
    one equation each, and the answer after them.

    Raises:
        ValueError: the messages are no prompt of this domain.
    """
    problem = _problem(messages)
    lines = _read(text)
    given = [equation for line in lines for equation in line.equations]
    pairs = _paired(problem.steps, given)
    credit = sum(_credit(problem.steps[i], given[j], problem.steps) for i, j in pairs)
    steps = credit / max(len(problem.steps), len(given))
    answers = {line.answer for line in lines if line.answer is not None}
    answered = float(answers == {problem.answer})
    formed = float(_is_formed(lines)) if steps or answered else 0.0
    return min(1.0, STEPS_WEIGHT * steps + ANSWER_WEIGHT * answered + FORM_WEIGHT * formed)


def correct(messages: Sequence[Message], draft: str, reference: str | None = None) -> str | None:
    """The draft with right steps and answer: numbers are replaced in place; see `Domain.correct`.

    Steps that are missing are added in the draft's own signs, and lines that are neither step nor answer are
    removed.
    """
    if verify(messages, draft) == 1.0:
        return draft
    problem = _problem(messages)
    return least_edited(draft, [_corrected(problem, _read(draft))], reference)


def answers(messages: Sequence[Message]) -> Sequence[str]:
    """The solution as models write it, in plain signs, and as the references do."""
    problem = _problem(messages)
    return write_plain(problem.steps), write_reference(problem)


@dataclass(frozen=True)
class _Line:
    """A line of a solution."""

    text: str

    @cached_property
    def matches(self) -> Sequence[re.Match[str]]:
        return list(_EQUATION.finditer(self.text))

    @property
    def equations(self) -> list[Step]:
        return [_step(match) for match in self.matches]

    @property
    def number(self) -> int | None:
        """The number after "Step"."""
        found = _STEP.match(self.text)
        return int(found["number"][:9]) if found else None

    @property
    def answer(self) -> int | None:
        found = _ANSWER.match(self.text)
        return None if found is None or self.matches else _value(found["number"])


def _read(text: str) -> list[_Line]:
    lines = text[:_LENGTH_MAX].splitlines()[:_LINES_MAX]
    return [_Line(line) for line in lines if line.strip()]


def _problem(messages: Sequence[Message]) -> Problem:
    found = list(_PROBLEM.finditer(user_texts(messages)))
    if not found:
        raise ValueError("this is no prompt of the domain 'arithmetic': it has no 'Problem …'")
    problem = draw_problem(int(found[-1].group(1)))  # after the example
    if tuple(messages[-len(problem.messages) :]) != problem.messages:
        raise ValueError(
            f"the prompt {found[-1].group()!r} was made by another version of the domain 'arithmetic' (this "
            f"is {VERSION}). Build its prompts again."
        )
    return problem


def _step(match: re.Match[str]) -> Step:
    return Step(_value(match["left"]), _SIGN[match["sign"]], _value(match["right"]), _value(match["result"]))


def _value(digits: str) -> int:
    return int(digits.replace(",", ""))


def _credit(right: Step, given: Step, steps: Sequence[Step]) -> float:
    if given.sign != right.sign:
        return 0.0
    operands = (given.left, given.right)
    if right.sign in "+*":
        operands = min(operands, operands[::-1], key=lambda pair: pair != (right.left, right.right))
    if operands == (right.left, right.right):
        return 1.0 if given.result == right.result else HALF_RIGHT
    carried = right is not steps[0] and operands[1] == right.right and _holds(given)
    return HALF_RIGHT if carried else 0.0


def _holds(step: Step) -> bool:
    match step.sign:
        case "+":
            return step.left + step.right == step.result
        case "-":
            return step.left - step.right == step.result
        case "*":
            return step.left * step.right == step.result
        case _:
            return step.right * step.result == step.left != 0


def _paired(steps: Sequence[Step], given: Sequence[Step]) -> list[tuple[int, int]]:
    """Indices of steps and the equations that are meant by them, in order: the pairs of the most credit."""
    best: list[list[tuple[float, list[tuple[int, int]]]]] = [[(0.0, [])] * (len(given) + 1)]
    for i, step in enumerate(steps):
        row: list[tuple[float, list[tuple[int, int]]]] = [(0.0, [])]
        for j, equation in enumerate(given):
            # Without any credit they are still one step, in the draft's place.
            worth = _credit(step, equation, steps) + _shared(step, equation) / 100 + 1e-4
            value, pairs = best[i][j]
            row.append(max(best[i][j + 1], row[j], (value + worth, [*pairs, (i, j)]), key=lambda c: c[0]))
        best.append(row)
    return best[-1][-1][1]


def _shared(step: Step, given: Step) -> int:
    return len({step.left, step.right, step.result} & {given.left, given.right, given.result})


def _is_formed(lines: Sequence[_Line]) -> bool:
    *steps, last = lines
    numbered = all(
        line.number == index and len(line.matches) == 1 for index, line in enumerate(steps, start=1)
    )
    return numbered and last.answer is not None and last.number is None


def _corrected(problem: Problem, lines: Sequence[_Line]) -> str:
    places = [(line, match) for line in lines for match in line.matches]
    given = [_step(match) for _, match in places]
    kept = {i: places[j] for i, j in _paired(problem.steps, given)}
    signs = {_SIGN[match["sign"]]: match["sign"] for _, match in reversed(places)}
    used: set[int] = set()
    written = []
    for index, step in enumerate(problem.steps):
        line, match = kept.get(index, (None, None))
        if line is None or match is None or id(line) in used:  # of two steps on one line the first keeps it
            sign = signs.get(step.sign, step.sign)
            written.append(f"Step {index + 1}: {step.left} {sign} {step.right} = {step.result}")
            continue
        used.add(id(line))
        written.append(_numbered(_with_step(line, match, step), index + 1))
    return "\n".join([*written, _with_answer(lines, problem.answer)])


def _with_step(line: _Line, match: re.Match[str], step: Step) -> str:
    """The line with this step in the equation's place, and no other equation."""
    given = _step(match)
    left, right = step.left, step.right
    if step.sign in "+*" and (given.left == right or given.right == left) and given.left != left:
        left, right = right, left
    numbers = [
        match[name] if _value(match[name]) == value else str(value)
        for name, value in (("left", left), ("right", right), ("result", step.result))
    ]
    sign = match["sign"] if _SIGN[match["sign"]] == step.sign else step.sign
    equation = f"{numbers[0]}{match['before']}{sign}{match['after']}{numbers[1]}{match['is']}{numbers[2]}"
    before, after = line.text[: match.start()], line.text[match.end() :]
    return _EQUATION.sub("", before) + equation + _EQUATION.sub("", after)


def _numbered(text: str, number: int) -> str:
    found = _STEP.match(text)
    if found is None:
        return f"Step {number}: {_LIST_NUMBER.sub('', text.lstrip())}"
    return text[: found.start("number")] + str(number) + text[found.end("number") :]


def _with_answer(lines: Sequence[_Line], answer: int) -> str:
    """The draft's last line with an answer, made right, or a new one."""
    for line in reversed(lines):
        found = _ANSWER.match(line.text)
        if found is not None and line.answer is not None and line.number is None:
            kept = found["number"] if _value(found["number"]) == answer else str(answer)
            return line.text[: found.start("number")] + kept + line.text[found.end("number") :]
    return f"Answer: {answer}"


DOMAIN = Domain("arithmetic", VERSION, tuple(KINDS), rows, verify, correct, answers)
