"""Builds the sandbox: base model, reward model and prompts in one directory, cached by content id.

    python -m figa_core.sandbox.build --root DIR

A sandbox is made in a directory of its own beside its final place and renamed when whole, manifest last: what
a killed build leaves is never used, and the next one removes it. This module imports no heavy library; the
models are made by two worker processes, one core each.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from figa_core.errors import EngineError, WorkspaceError
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.sandbox import vocabulary
from figa_core.sandbox.recipe import DEFAULT_PROMPTS, SandboxRecipe
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.world import faulty_reply, good_reply, sample_facts, write_request

MANIFEST = "manifest.json"
SCRATCH = "scratch"  # what only the building needs: the workers' files, which have their kinds' names
PROGRESS = "progress"  # there: a line for each piece of news from either worker
WORKERS = ("base", "reward")
_ERROR_LINES = 30

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A finished sandbox. `figures`: sizes, seconds, accuracies and mean scores of its models."""

    directory: Path
    base_model: Path
    reward_model: Path
    prompts: Path
    figures: Mapping[str, float]


def build_sandbox(
    root: Path, *, n_prompts: int = DEFAULT_PROMPTS, seed: int = 0, on_progress: Progress | None = None
) -> Sandbox:
    """Build the sandbox under `root`, or return the one that exists there.

    `n_prompts` unique prompts with references go to the prompts file (fields `prompt`, a list of chat
    messages, and `reference`). `on_progress` gets lines of text.

    Raises:
        EngineError: a worker failed; the message carries the end of what it wrote.
        WorkspaceError: `root` cannot be written.
    """
    return build_recipe(root, SandboxRecipe(seed=seed, n_prompts=n_prompts), on_progress=on_progress)


def build_recipe(root: Path, recipe: SandboxRecipe, *, on_progress: Progress | None = None) -> Sandbox:
    """`build_sandbox` for any recipe."""
    final = root.resolve() / recipe.sandbox_id()
    if (existing := _read(final)) is not None:
        return existing
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(final)
        partial = final.with_name(f"{final.name}.building-{os.getpid()}")
        partial.mkdir()
    except OSError as error:
        raise WorkspaceError(
            f"{root}: cannot build the sandbox here: {error.strerror}. Give a writable directory."
        ) from error
    try:
        _make(partial, recipe, on_progress or (lambda _: None))
        _move_into_place(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    built = _read(final)
    assert built is not None, f"{final} has no manifest right after it was built"
    return built


def write_prompts(path: Path, recipe: SandboxRecipe) -> float:
    """Write the prompts file; return the verifier's mean score of the weak writer's replies to them."""
    rng = random.Random(f"prompts/{recipe.seed}")
    seen: set[object] = set()
    scores: list[float] = []
    with path.open("w", encoding="utf-8") as file:
        while len(seen) < recipe.n_prompts:
            facts = sample_facts(rng)
            messages = write_request(facts, rng)
            reference = good_reply(facts, rng, vocabulary.REFERENCE_STYLE).text
            scores.append(verify(messages, faulty_reply(facts, rng).text))
            if messages not in seen:
                seen.add(messages)
                row = {"prompt": [message.as_dict() for message in messages], "reference": reference}
                file.write(json.dumps(row) + "\n")
    return statistics.fmean(scores)


def _make(directory: Path, recipe: SandboxRecipe, on_progress: Progress) -> None:
    started = time.monotonic()
    on_progress(f"sandbox: training a base and a reward model, {recipe.n_prompts} prompts")
    scratch = directory / SCRATCH
    scratch.mkdir()
    (scratch / PROGRESS).touch()
    workers: list[tuple[str, Child]] = []
    try:
        workers += ((kind, _start(kind, directory, recipe)) for kind in WORKERS)
        figures = {"world_score": write_prompts(directory / "prompts.jsonl", recipe)}
        _follow(workers, scratch / PROGRESS, on_progress)
    finally:
        for _, worker in workers:
            worker.kill()
    for kind in WORKERS:
        figures |= json.loads((scratch / f"{kind}.json").read_text(encoding="utf-8"))
    shutil.rmtree(scratch)
    figures |= {"prompts": float(recipe.n_prompts), "build_seconds": time.monotonic() - started}
    manifest = {"sandbox": recipe.sandbox_id(), "recipe": asdict(recipe), "figures": figures}
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _start(kind: str, directory: Path, recipe: SandboxRecipe) -> Child:
    command = [sys.executable, "-m", "figa_core.sandbox.worker", kind]
    command += ["--directory", str(directory), "--recipe", json.dumps(asdict(recipe))]
    environment = child_environment(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    return Child(command, directory / SCRATCH / f"{kind}.log", environment=environment)


def _follow(workers: Sequence[tuple[str, Child]], progress: Path, on_progress: Progress) -> None:
    """Hand on the workers' lines until both are done; EngineError as soon as one has failed."""
    with progress.open(encoding="utf-8") as lines:

        def all_done() -> bool:
            for kind, worker in workers:
                if worker.exit_code:
                    raise EngineError(
                        f"the sandbox's {kind} worker ended with code {worker.exit_code}. Build again; if it "
                        f"fails again, this is what it said:\n{worker.last_words(_ERROR_LINES)}"
                    )
            done = all(worker.exit_code == 0 for _, worker in workers)
            for line in lines:
                on_progress(line.rstrip("\n"))
            return done

        for _, worker in workers:
            worker.wait_until(all_done)


def _read(directory: Path) -> Sandbox | None:
    manifest = directory / MANIFEST
    if not manifest.exists():
        return None
    figures = json.loads(manifest.read_text(encoding="utf-8"))["figures"]
    return Sandbox(directory, directory / "base", directory / "reward", directory / "prompts.jsonl", figures)


def _move_into_place(partial: Path, final: Path) -> None:
    """Rename; where another build was faster, its directory stays."""
    if final.exists() and not (final / MANIFEST).exists():
        shutil.rmtree(final)
    try:
        partial.rename(final)
    except OSError:
        if not (final / MANIFEST).exists():
            raise


def _remove_abandoned(final: Path) -> None:
    """Remove what killed builds of this sandbox left."""
    for path in final.parent.glob(f"{final.name}.building-*"):
        owner = re.search(r"building-(\d+)$", path.name)
        if owner and (int(owner.group(1)) == os.getpid() or not psutil.pid_exists(int(owner.group(1)))):
            shutil.rmtree(path, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build and print the figures."""
    parser = argparse.ArgumentParser(prog="figa_core.sandbox.build", description="Build the sandbox.")
    parser.add_argument("--root", type=Path, required=True, help="directory that holds sandboxes")
    parser.add_argument("--prompts", type=int, default=DEFAULT_PROMPTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    sandbox = build_sandbox(
        options.root,
        n_prompts=options.prompts,
        seed=options.seed,
        on_progress=lambda line: print(line, flush=True),
    )
    for name, value in sandbox.figures.items():
        print(f"{name:36} {value:.4g}")
    print(sandbox.directory)


if __name__ == "__main__":
    main()
