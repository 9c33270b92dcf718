"""What is installed here: this package, what it requires, vLLM and the device."""

import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata

from packaging.requirements import Requirement

from figa_core.inference.choice import GPU
from figa_core.inference.devices import transformers_device
from figa_core.inference.vllm_python import find_vllm_python, vllm_version
from flows.operations.doctor.lines import Line, ok, problem

_SHOWN = ("prefect", "torch", "transformers", "deepspeed", "duckdb")


def installation_lines() -> Iterator[Line]:
    """This package and its requirements, vLLM, and the device; raises EngineError for a wrong setting."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _SHOWN)
    yield ok("figa", f"{metadata.version('figa')} on Python {platform.python_version()} ({sys.prefix})")
    wrong = list(unmet(metadata.requires("figa") or (), _installed))
    if wrong:
        yield problem("packages", f"{'; '.join(wrong)}. Install them again: `make setup`")
    else:
        yield ok("packages", versions)
    device = "a GPU" if transformers_device() is GPU else "the CPU; no GPU is seen here"
    yield ok("device", device)
    python, found = find_vllm_python(), vllm_version()
    if python is None:
        yield ok("vLLM", "not installed: transformers generates and scores. `make setup` installs it")
    else:
        yield ok("vLLM", f"{' '.join(*found.items()) if found else 'of unknown version'} ({python})")


def unmet(required: Iterable[str], installed: Callable[[str], str | None]) -> Iterator[str]:
    """The requirements of a package (without its extras) that are not met: "torch 2.12, not >=2.13"."""
    for text in required:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = installed(requirement.name)
        if found is None:
            yield f"{requirement.name} is missing"
        elif not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} {found}, not {requirement.specifier}"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
