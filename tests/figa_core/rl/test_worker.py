"""The worker imports only what TRL's environments have: their lock files list it."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WORKER = ("worker", "task", "trainers", "groups", "ppo")


def imported(module: str, seen: set[str]) -> Iterator[str]:
    """Modules outside this package that importing one of its modules imports, and of the worker's all."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    path = path if path.is_file() else path.with_suffix("") / "__init__.py"
    if module in seen or not path.is_file():
        return
    seen.add(module)
    everywhere = module.startswith("figa_core.rl.")
    for name in names_in(ast.parse(path.read_text(encoding="utf-8")).body, everywhere):
        if name.startswith("figa_core"):
            yield from imported(name, seen)
        else:
            yield name.partition(".")[0]


def names_in(nodes: Iterable[ast.AST], in_functions: bool) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from names_in(ast.iter_child_nodes(node), in_functions)


@pytest.mark.parametrize("lock", ["trl", "ppo"])
def test_what_the_worker_imports_is_in_the_lock_file(lock: str) -> None:
    lines = (ROOT / "docker" / f"{lock}.lock.txt").read_text(encoding="utf-8").splitlines()
    locked = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines if "==" in line}
    found = {name for module in WORKER for name in imported(f"figa_core.rl.{module}", set())}
    distributions = packages_distributions()
    for name in sorted(found - set(sys.stdlib_module_names)):
        candidates = {re.sub(r"[-_.]+", "-", each).lower() for each in distributions.get(name, [name])}
        assert candidates & locked, f"{name} is imported, and {lock}.lock.txt does not have it"
    assert {"torch", "transformers", "pyarrow", "trl"} <= found
