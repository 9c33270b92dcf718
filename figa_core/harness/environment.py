"""The environment with lm-eval, and its interpreter, found without loading lm-eval.

It lies above vLLM's environment, whose packages it sees: lm-eval's engine for vLLM must run beside vLLM.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.processes import interpreters

RELEASE = "0.4.13"
"""Of lm-eval. Other releases have other interfaces and other versions of their tasks."""
FOLDER = ".venv-harness"
PYTHON_VARIABLE = "FIGA_HARNESS_PYTHON"
INSTALL = "make harness"

_NEEDED = ("lm_eval", "torch", "transformers", "figa_core")
_QUESTION = (
    "import importlib.metadata as d, importlib.util as u; "
    f"lacks = [m for m in {_NEEDED} if u.find_spec(m) is None]; "
    "print(*lacks) if lacks else print('release', d.version('lm_eval'), u.find_spec('vllm') is not None)"
)


@dataclass(frozen=True, slots=True)
class HarnessPython:
    """An interpreter that has lm-eval of this exact release, and maybe vLLM."""

    python: Path
    release: str
    has_vllm: bool


def find_harness() -> HarnessPython:
    """The interpreter with lm-eval.

    It is $FIGA_HARNESS_PYTHON, or in a `.venv-harness` beside this environment, in the working directory or
    above.

    Raises:
        EngineError: there is none, or the variable names one that cannot be used.
    """
    if named := os.environ.get(PYTHON_VARIABLE):
        found = examined(Path(named))
        if isinstance(found, str):
            raise EngineError(
                f"{PYTHON_VARIABLE} = {named}: cannot run lm-eval {RELEASE}: {found}. Correct or unset the "
                f"variable; `{INSTALL}` makes the environment that is used without it."
            )
        return found
    reasons = []
    for found in map(examined, interpreters.environments_named(FOLDER)):
        if not isinstance(found, str):
            return found
        reasons.append(found)
    why = f" ({reasons[0]})" if reasons else ""
    raise EngineError(f"lm-eval's environment, {FOLDER}, is missing{why}; `{INSTALL}` makes it.")


@lru_cache(maxsize=16)
def examined(python: Path) -> HarnessPython | str:
    """What a quick look finds in this interpreter, or why it cannot run lm-eval."""
    answers: list[str] = []

    def judged(printed: str) -> str | None:
        answers.append(printed)
        return _reason(printed)

    if (reason := interpreters.why_not(python, _QUESTION, judged)) is not None:
        return reason
    _, release, has_vllm = answers[0].split()
    return HarnessPython(python, release, has_vllm == "True")


def _reason(printed: str) -> str | None:
    words = printed.split()
    if words[:1] != ["release"] or len(words) != 3:
        return interpreters.lacking(printed) or "it does not say which release of lm-eval it has"
    release = words[1]
    if release == RELEASE or release.startswith(f"{RELEASE}."):
        return None
    return f"it has lm-eval {release}, and {RELEASE} is needed: other releases have other tasks"
