"""Finds the files of a user's reward program, and hashes them, without running any of it.

The hash covers the program's own file, and the modules beside it that it imports, directly or through each
other. Beside it means: below the directory in which the import of the program begins. Of an installed program
only its own package counts, and never this product. An import by a computed name is not seen, nor is a data
file that the program reads.
"""

import ast
import hashlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from figa_core.errors import ConfigError

_OURS = frozenset({"figa_core", "tasks", "flows", "deployments"})
_INSTALLED = frozenset(
    Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib", "platstdlib")
)


def source_hash(function: str) -> str:
    """SHA-256 (hex) of what a "module:function" consists of.

    Without imports from beside it, this is the hash of its file alone.

    Raises:
        ConfigError: there is no such module, or one of the files cannot be read.
    """
    own = hashlib.sha256(source_of(function)).hexdigest()
    others = local_modules(function)
    if not others:
        return own
    together = hashlib.sha256(own.encode())
    for name, file in sorted(others.items()):
        together.update(f"\n{name} {hashlib.sha256(_read(function, file)).hexdigest()}".encode())
    return together.hexdigest()


def source_of(function: str) -> bytes:
    """The content of the file with the module of a "module:function"; empty for a module without one.

    Raises:
        ConfigError: there is no such module, or its file cannot be read.
    """
    file = _program_file(function)
    return b"" if file is None else _read(function, file)


def local_modules(function: str) -> dict[str, Path]:
    """Name → file of the modules beside the program that it imports; see above.

    Raises:
        ConfigError: as `source_of`.
    """
    module, file = function.partition(":")[0], _program_file(function)
    if file is None or module.partition(".")[0] in _OURS:
        return {}
    is_package = file.name == "__init__.py"
    root = file.parents[len(module.split(".")) - (0 if is_package else 1)]
    only = module.partition(".")[0] if root.resolve() in _INSTALLED else None
    found: dict[str, Path] = {}
    waiting = [(module, file)]
    while waiting:
        name, path = waiting.pop()
        for wanted in _imported(_read(function, path), name, is_package=path.name == "__init__.py"):
            for part, there in _below(root, wanted, only):
                if there != file and part not in found:
                    found[part] = there
                    waiting.append((part, there))
    return found


def _imported(source: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """The names that a module's source imports; a name that may be a submodule or a function is one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the user's code, which says so when it runs
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # not Python, or broken: the program's start will say it
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: None if is_package else -1]
                kept = package[: len(package) - node.level + 1]
                base = ".".join([*kept, *([base] if base else [])])
            yield from (f"{base}.{each.name}" if base else each.name for each in node.names)


def _below(root: Path, name: str, only: str | None) -> Iterator[tuple[str, Path]]:
    """The module `name` and the packages around it, as far as they are files below `root`."""
    parts = name.split(".")
    if parts[0] in _OURS or (only is not None and parts[0] != only):
        return
    for count in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:count])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                yield ".".join(parts[:count]), file
                break


def _read(function: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unusable(function, error) from error


def _program_file(function: str) -> Path | None:
    try:
        file = _file_of(function.partition(":")[0])
    except (ImportError, OSError, ValueError) as error:
        raise _unusable(function, error) from error
    return None if file is None else Path(file)


def _unusable(function: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"the reward program {function!r}: its module cannot be found or read ({error}). Write "
        "'module:function', and install the module here or add its folder to PYTHONPATH."
    )


def _file_of(module: str) -> str | None:
    """The file of a module; packages around it are not imported, either."""
    path, found = sys.path, None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if count == 1 and name in sys.builtin_module_names:
            return None
        found = PathFinder.find_spec(name, path)
        if found is None and count == 1:  # such as a package that is installed to be edited
            found = find_spec(name)
        if found is None:
            raise ImportError(f"there is no module {name!r}")
        path = found.submodule_search_locations or []
    return found.origin if found and found.has_location else None
