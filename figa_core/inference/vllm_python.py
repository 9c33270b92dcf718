"""Whether an interpreter can run the vLLM worker, asked without loading vLLM."""

import subprocess
from functools import lru_cache
from pathlib import Path

_NEEDED = ("vllm", "pyarrow", "figa_core")
_QUESTION = f"import importlib.util as u; print(*(m for m in {_NEEDED} if u.find_spec(m) is None))"
_TIMEOUT_S = 60.0


@lru_cache(maxsize=16)
def why_not(python: Path) -> str | None:
    """What keeps this interpreter from running vLLM; None if nothing does, as far as can be told at once."""
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
        said = answer.stderr.decode(errors="replace").strip().splitlines()
        return f"it is no Python that works ({said[-1][:200] if said else f'exit code {answer.returncode}'})"
    missing = answer.stdout.decode(errors="replace").split()
    return f"it has no {' and no '.join(missing)}" if missing else None
