"""What every rank says of itself at the start, and why the ranks of some nodes cannot train with the others.

Nodes must run the same code and libraries on the same kind of device, and see the same files under the same
paths. Rank 0 is the measure.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from figa_core.code_hash import code_hash
from figa_core.errors import TrainingError
from figa_core.training.job import TrainingJob

_PACKAGE = Path(__file__).resolve().parents[2]
_LIBRARIES = ("torch", "transformers", "deepspeed", "peft")
_CODE = "the code of figa"
_SEEN_WITHIN_S = 20.0
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Presence:
    """A rank's answer. `versions` holds those of the code and of libraries, `digests` those of the training's
    files by path; `unseen` are paths that this rank does not see; `device` is the kind on which it trains.
    """

    rank: int
    node: int
    host: str
    versions: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    unseen: Sequence[str] = ()
    device: str = ""

    @property
    def where(self) -> str:
        return node_name(self.node, self.host)


def node_name(node: int, host: str) -> str:
    """Such as "node 1 (gpu2)": several nodes may have one host name, in containers."""
    return f"node {node} ({host})"


def disagreements(presences: Sequence[Presence]) -> list[str]:
    """A line for each difference between a node and that of rank 0; none if all can train together."""
    first = min(presences, key=lambda each: each.rank)
    lines = dict.fromkeys(
        line for each in sorted(presences, key=lambda each: each.rank) for line in _differences(first, each)
    )
    return list(lines)


def _differences(first: Presence, other: Presence) -> Iterator[str]:
    for path in other.unseen:
        which = "" if path in first.unseen else f", which {first.where} does"
        yield (
            f"{other.where} does not see {path}{which}. Put the workspace, the model and the shards on "
            "storage that all nodes share, under the same paths."
        )
    for name in {**first.versions, **other.versions}:
        ours, theirs = first.versions.get(name), other.versions.get(name)
        if ours != theirs:
            yield (
                f"{other.where} has another version of {name}: {_version(theirs)}, where {first.where} has "
                f"{_version(ours)}. Install the same one on both."
            )
    if other.device != first.device:
        yield (
            f"{other.where} trains on {other.device or 'an unknown device'}, where {first.where} trains on "
            f"{first.device or 'an unknown device'}. Let both see GPUs, or neither: look at the drivers, the "
            "container's devices and CUDA_VISIBLE_DEVICES."
        )
    for path, digest in other.digests.items():
        if path not in other.unseen and digest != first.digests.get(path):
            yield f"{other.where} sees other files in {path} than {first.where}. Give both the same ones."


def _version(text: str | None) -> str:
    return "none" if text is None else text


def presence_of(
    job_path: Path,
    proof: str,
    *,
    rank: int,
    node: int,
    host: str,
    device: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Presence:
    """That of a rank on this machine.

    `proof` is the name of a file that rank 0 wrote beside the job file; `device` is from `device_kind`.
    """
    until = clock() + _SEEN_WITHIN_S
    unseen = [
        str(path) for path in (job_path.with_name(proof), job_path) if not _is_seen(path, until, clock, sleep)
    ]
    digests: dict[str, str] = {}
    with contextlib.suppress(OSError, TrainingError):
        job = TrainingJob.from_json(job_path.read_text(encoding="utf-8"), source=str(job_path))
        for path in (job.model, job.shards, job.reference_log_probs):
            if path is not None and path.is_dir():
                digests[str(path)] = _listing(path)
            elif path is not None:
                unseen.append(str(path))
    return Presence(rank, node, host, {**code_version(), **library_versions()}, digests, unseen, device)


def device_kind() -> str:
    """On what a rank trains here, in words: a GPU if PyTorch sees any."""
    import torch

    return "a GPU" if torch.cuda.device_count() else "the CPU"


def code_version() -> dict[str, str]:
    """That of this package, by the contents of its files."""
    return {_CODE: code_hash([_PACKAGE])}


def library_versions() -> dict[str, str]:
    """Those that decide what ranks compute and send to one another; missing libraries are left out."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def presence_from(fields: Mapping[str, Any]) -> Presence:
    """From the JSON object of another rank, which may be another release's; raises TypeError then."""
    return Presence(**fields)


def _is_seen(path: Path, until: float, clock: Callable[[], float], sleep: Callable[[float], object]) -> bool:
    """Whether a file is there by then: shared storage may show it a little later."""
    while not path.is_file():
        if clock() >= until:
            return False
        sleep(_POLL_S)
    return True


def _listing(directory: Path) -> str:
    """The names and sizes of the files in it: reading a model whole on each node would take minutes."""
    names = sorted((path.name, path.stat().st_size) for path in directory.iterdir() if path.is_file())
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]
