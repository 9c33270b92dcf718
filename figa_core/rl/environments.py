"""The environments with TRL in which the methods run, and their interpreters, found without loading TRL.

There are two, because no release of TRL has all methods: PPO left it after 1.8. Each has this package too.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.processes import interpreters

INSTALL = "make rl"

_NEEDED = ("trl", "torch", "transformers", "pyarrow", "figa_core")
_QUESTION = (
    "import importlib.metadata as d, importlib.util as u; "
    f"lacks = [m for m in {_NEEDED} if u.find_spec(m) is None]; "
    "print(*lacks) if lacks else print('release', d.version('trl'))"
)


@dataclass(frozen=True, slots=True)
class Environment:
    """One of them: its folder, the variable that may name another interpreter, and TRL's release in it."""

    folder: str
    variable: str
    release: str

    @property
    def title(self) -> str:
        return f"TRL {self.release}"


OF_TRL = Environment(".venv-trl", "FIGA_TRL_PYTHON", "1.16")
OF_PPO = Environment(".venv-ppo", "FIGA_PPO_PYTHON", "1.8")


def find_python(environment: Environment) -> Path | None:
    """The interpreter of this environment; None without one.

    It is the variable's, or in a folder beside this environment, in the working directory or above.

    Raises EngineError if the variable names an interpreter that cannot be used.
    """
    if named := os.environ.get(environment.variable):
        if reason := why_not(Path(named), environment.release):
            raise EngineError(
                f"{environment.variable} = {named}: cannot run {environment.title}: {reason}. Correct or "
                f"unset the variable; `{INSTALL}` installs the environment that is used without it."
            )
        return Path(named)
    found = interpreters.environments_named(environment.folder)
    return next((python for python in found if why_not(python, environment.release) is None), None)


def why_missing(environment: Environment) -> str:
    """Why nothing can run in this environment; empty if it is there."""
    try:
        if find_python(environment) is not None:
            return ""
    except EngineError as error:
        return str(error)
    return f"TRL's environment is missing ({environment.title}, {environment.folder}); `{INSTALL}` makes it"


def installed_release(environment: Environment) -> str | None:
    """The exact release of TRL in the environment that is used; None without one."""
    if why_missing(environment) or (python := find_python(environment)) is None:
        return None
    folders = python.parent.parent.glob("lib/python*/site-packages/trl-*.dist-info")
    return next((folder.name.removesuffix(".dist-info").removeprefix("trl-") for folder in folders), None)


@lru_cache(maxsize=16)
def why_not(python: Path, release: str) -> str | None:
    """Why this interpreter cannot run that release of TRL; None if a quick check finds no reason."""
    return interpreters.why_not(python, _QUESTION, lambda printed: _judged(printed, release))


def _judged(printed: str, release: str) -> str | None:
    words = printed.split()
    if words[:1] != ["release"] or len(words) != 2:
        return interpreters.lacking(printed) or "it does not say which release of TRL it has"
    version = words[1]
    if version == release or version.startswith(f"{release}."):
        return None
    return f"it has TRL {version}, and {release} is needed: other releases have other interfaces"
