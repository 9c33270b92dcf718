"""The arithmetic world: word problems of two to four steps, each drawn from its number alone."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from figa_core.records import Message

VERSION = 2

SIGNS = {"+": "+", "-": "−", "*": "×", "/": "÷"}
"""How the references write each operation; the problems' own example has "+"."""

_NAMES = ("Ana", "Ben", "Carla", "Dev", "Ella", "Finn", "Gita", "Hugo", "Ines", "Jack", "Kemi", "Lars")
_THINGS = ("marbles", "stamps", "shells", "cards", "buttons", "apples", "beads", "pencils", "coins", "nuts")
_HOLDERS = ("boxes", "bags", "jars", "trays", "baskets")
_MORE = (
    "Then {name} buys {n} more.",
    "{friend} brings {n} more {things}.",
    "After that {name} finds {n} {things}.",
    "The next day {n} {things} are added.",
)
_FEWER = (
    "Then {name} loses {n} of them.",
    "{friend} takes {n} of the {things}.",
    "After that {name} gives {n} {things} away.",
    "The next day {n} of them are sold.",
)
_STARTS = (
    "{name} has {n} {things}.",
    "There are {n} {things} on {name}'s table.",
    "{name} starts with {n} {things}.",
)
_PACKED = (
    "{name} fills {n} {holders} with {m} {things} each.",
    "{name} has {n} {holders}, and in each of them are {m} {things}.",
)
_SHARED = "At the end {name} shares them equally among {n} friends. How many {things} does each friend get?"
_LEFT = ("How many {things} are there now?", "How many {things} does {name} have in the end?")
_TASK = "Solve each problem in steps. Write each step on a line of its own, and the answer on the last line."


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `left` `sign` `right` = `result`. The sign is one of + - * /."""

    left: int
    sign: str
    right: int
    result: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A word problem with its only solution; the messages have another problem as an example."""

    kind: str
    messages: tuple[Message, ...]
    steps: Sequence[Step]
    things: str

    @property
    def answer(self) -> int:
        return self.steps[-1].result


KINDS = {"sums": "±±", "long sums": "±±±±", "product": "*±", "sharing": "*±/"}
"""The types of problems by their operations in order; ± is either of + and -."""


def draw_problem(number: int) -> Problem:
    """The problem with this number."""
    rng = random.Random(f"arithmetic/{VERSION}/{number}")
    kind = rng.choice(tuple(KINDS))
    example, steps, things = _written(KINDS[kind], rng, rng.randrange(100_000, 1_000_000))
    shown = Message("assistant", write_plain(steps))
    text, steps, things = _written(KINDS[kind], rng, number)
    messages = (Message("user", f"{_TASK}\n\n{example}"), shown, Message("user", text))
    return Problem(kind, messages, steps, things)


def _written(signs: str, rng: random.Random, number: int) -> tuple[str, Sequence[Step], str]:
    """A problem's text and solution, and what is counted."""
    name, friend = rng.sample(_NAMES, 2)
    words = {
        "name": name,
        "friend": friend,
        "things": rng.choice(_THINGS),
        "holders": rng.choice(_HOLDERS),
    }
    steps, sentences = _story(signs, rng)
    text = " ".join(sentence.format(**words, **numbers) for sentence, numbers in sentences)
    return f"Problem {number}. {text}", steps, words["things"]


def write_plain(steps: Sequence[Step]) -> str:
    """The solution as models write it."""
    lines = [
        f"Step {index}: {step.left} {step.sign} {step.right} = {step.result}"
        for index, step in enumerate(steps, start=1)
    ]
    return "\n".join([*lines, f"Answer: {steps[-1].result}"])


def write_reference(problem: Problem) -> str:
    """The solution in the style of the references: with typographic signs, and what is counted."""
    lines = [
        f"Step {index}: {step.left} {SIGNS[step.sign]} {step.right} = {step.result} {problem.things}"
        for index, step in enumerate(problem.steps, start=1)
    ]
    return "\n".join([*lines, f"Answer: {problem.answer} {problem.things}"])


def _story(signs: str, rng: random.Random) -> tuple[list[Step], list[tuple[str, dict[str, int]]]]:
    """The steps, and the sentences with their numbers."""
    steps: list[Step] = []
    if signs[0] == "*":
        count, each = rng.randint(2, 9), rng.randint(3, 12)
        sentences = [(rng.choice(_PACKED), {"n": count, "m": each})]
        steps.append(Step(count, "*", each, count * each))
        total, signs = count * each, signs[1:]
    else:
        total = rng.randint(11, 49)
        sentences = [(rng.choice(_STARTS), {"n": total})]
    for place, sign in enumerate(signs):
        if sign == "/":
            break
        divisor = rng.randint(2, 6) if signs[place + 1 :] == "/" else 1
        step = _change(total, divisor, rng)
        steps.append(step)
        sentences.append((rng.choice(_MORE if step.sign == "+" else _FEWER), {"n": step.right}))
        total = step.result
        if divisor > 1:
            steps.append(Step(total, "/", divisor, total // divisor))
            return steps, [*sentences, (_SHARED, {"n": divisor})]
    return steps, [*sentences, (rng.choice(_LEFT), {})]


def _change(total: int, divisor: int, rng: random.Random) -> Step:
    """A number more or fewer, such that the result is positive and a multiple of `divisor`."""
    sign = rng.choice("+-")
    most = max(3, total - divisor) if sign == "-" else 30
    fitting = [n for n in range(3, most + 1) if (total + (n if sign == "+" else -n)) % divisor == 0]
    fitting = [n for n in fitting if sign == "+" or total - n > 0]
    if not fitting:
        sign, fitting = "+", [n for n in range(3, 30) if (total + n) % divisor == 0]
    change = rng.choice(fitting)
    return Step(total, sign, change, total + change if sign == "+" else total - change)
