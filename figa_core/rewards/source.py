"""Finds the file of a user's reward program without running any of it."""

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from figa_core.errors import ConfigError


def source_of(function: str) -> bytes:
    """The content of the file with the module of a "module:function"; empty for a module without one.

    Raises:
        ConfigError: there is no such module, or its file cannot be read.
    """
    module = function.partition(":")[0]
    try:
        file = _file_of(module)
        return b"" if file is None else Path(file).read_bytes()
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(
            f"the reward program {function!r}: its module cannot be found or read ({error}). Write "
            "'module:function', and install the module here or add its folder to PYTHONPATH."
        ) from error


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
