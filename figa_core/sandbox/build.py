"""Builds the sandbox: base model, reward model and prompts in one directory, cached by content id.

    python -m figa_core.sandbox.build --root DIR

A sandbox is built in a temporary directory beside its final place and renamed when complete, manifest last.
The next build removes the remains of a killed one. This module imports no heavy library: two worker processes
train the models, one core each.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from figa_core.errors import EngineError, WorkspaceError
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment
from figa_core.sandbox import vocabulary
from figa_core.sandbox.recipe import DEFAULT_RECIPE, SandboxRecipe
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.world import faulty_reply, good_reply, sample_facts, write_request

SCRATCH = "scratch"  # needed for the build only: each worker's log and figures, named after its model
PROGRESS = "progress"  # in the scratch directory: the workers' progress, a line each time
_MANIFEST = "manifest.json"
_MODELS = ("base", "reward")

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
    root: Path, recipe: SandboxRecipe = DEFAULT_RECIPE, *, on_progress: Progress = lambda _: None
) -> Sandbox:
    """Build the sandbox of `recipe` under `root`, or return the existing one.

    Its prompts file has unique prompts with references (fields `prompt`, a list of chat messages, and
    `reference`). `on_progress` gets lines of text.

    Raises:
        EngineError: a worker failed; the message has the end of its log.
        WorkspaceError: `root` cannot be written.
    """
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
        _make(partial, recipe, on_progress)
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
    workers: dict[str, Child] = {}
    try:
        for model in _MODELS:
            workers[model] = _start(model, directory, recipe)
        figures = {"world_score": write_prompts(directory / "prompts.jsonl", recipe)}
        _follow(workers, scratch / PROGRESS, on_progress)
    finally:
        for worker in workers.values():
            worker.kill()
    for model in _MODELS:
        figures |= json.loads((scratch / f"{model}.json").read_text(encoding="utf-8"))
    shutil.rmtree(scratch)
    figures |= {"prompts": float(recipe.n_prompts), "build_seconds": time.monotonic() - started}
    manifest = {"sandbox": recipe.sandbox_id(), "recipe": asdict(recipe), "figures": figures}
    (directory / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _start(model: str, directory: Path, recipe: SandboxRecipe) -> Child:
    command = [sys.executable, "-m", "figa_core.sandbox.worker", model]
    command += ["--directory", str(directory), "--recipe", json.dumps(asdict(recipe))]
    environment = child_environment(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    return Child(command, directory / SCRATCH / f"{model}.log", environment=environment)


def _follow(workers: Mapping[str, Child], progress: Path, on_progress: Progress) -> None:
    """Report the workers' progress until both are done; EngineError as soon as one has failed."""
    with progress.open(encoding="utf-8") as lines:

        def all_done() -> bool:
            for model, worker in workers.items():
                if worker.exit_code:
                    raise EngineError(
                        f"the sandbox's {model} worker ended with code {worker.exit_code}. Build again; if "
                        f"it fails again, see the end of its log:\n{worker.log_tail(30)}"
                    )
            done = all(worker.exit_code == 0 for worker in workers.values())
            for line in lines:
                on_progress(line.rstrip("\n"))
            return done

        for worker in workers.values():
            worker.wait_until(all_done)


def _read(directory: Path) -> Sandbox | None:
    manifest = directory / _MANIFEST
    if not manifest.exists():
        return None
    figures = json.loads(manifest.read_text(encoding="utf-8"))["figures"]
    return Sandbox(directory, directory / "base", directory / "reward", directory / "prompts.jsonl", figures)


def _move_into_place(partial: Path, final: Path) -> None:
    """Rename it. If another build was faster, its directory stays."""
    if final.exists() and not (final / _MANIFEST).exists():
        shutil.rmtree(final)
    try:
        partial.rename(final)
    except OSError:
        if not (final / _MANIFEST).exists():
            raise


def _remove_abandoned(final: Path) -> None:
    """Remove the remains of killed builds of this sandbox."""
    for path in final.parent.glob(f"{final.name}.building-*"):
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
            shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="figa_core.sandbox.build", description="Build the sandbox.")
    parser.add_argument("--root", type=Path, required=True, help="directory that holds sandboxes")
    parser.add_argument("--prompts", type=int, default=DEFAULT_RECIPE.n_prompts)
    parser.add_argument("--seed", type=int, default=DEFAULT_RECIPE.seed)
    options = parser.parse_args()
    recipe = SandboxRecipe(seed=options.seed, n_prompts=options.prompts)
    sandbox = build_sandbox(options.root, recipe, on_progress=lambda line: print(line, flush=True))
    for name, value in sandbox.figures.items():
        print(f"{name:36} {value:.4g}")
    print(sandbox.directory)


if __name__ == "__main__":
    main()
