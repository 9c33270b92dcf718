"""How long `figa study shift` takes on the pairs of the demo, by the command that a person types.

    python -m tests.benchmarks.study_shift [--quick]

The demo's run is made once, in ``build/bench/study`` (minutes; the sandbox in ``build/sandbox`` is used, and
built if it is missing). Each repeat studies a copy of its workspace without log-probabilities, so every model
passes over all pairs; a last one studies the copy again, which finds them. Prints a table and writes
``build/bench/study.json``.
"""

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from figa_core.processes.children import child_environment
from figa_core.study.sentence_encoder import installed_encoder
from flows.demo import SANDBOX, Demo, Paths, Say, run_demo
from flows.progress import Lines
from tests.benchmarks.child import ROOT
from tests.benchmarks.figures import BENCH, Spread, log, save, show, spread

_REPEATS, _QUICK_REPEATS = 3, 1
_QUICK: dict[str, Any] = {"prompts": {"limit": 60}, "training": {"max_steps": 4}}
_LEFT_OUT = shutil.ignore_patterns("log-probs", "studies", "prefect", "checkpoints")
_GOAL_S = 180.0


def main() -> int:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.study_shift")
    parser.add_argument("--quick", action="store_true", help="a small run: whether it runs at all")
    quick = parser.parse_args().quick
    workspace = made_workspace(BENCH / ("study-quick" if quick else "study"), quick=quick)
    copy = workspace.parent / "copy"
    seconds, again = list[float](), 0.0
    for repeat in range(_QUICK_REPEATS if quick else _REPEATS):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(workspace, copy, ignore=_LEFT_OUT)
        seconds.append(study(copy))
        log(f"repeat {repeat + 1}: {seconds[-1]:.1f} s")
        again = study(copy)
    [page] = (copy / "studies").glob("*-shift.json")
    found = orjson.loads(page.read_bytes())
    report(spread(seconds), again, found, "study-quick" if quick else "study")
    shutil.rmtree(copy)
    return 0


def made_workspace(directory: Path, *, quick: bool) -> Path:
    """The workspace of a finished demo; its existence is marked last, so an interrupted one is continued."""
    workspace, finished = directory / "workspace", directory / "finished"
    if not finished.is_file():
        log(f"making the demo's run in {workspace}")
        demo = replace(SANDBOX, prepare=_few_prompts) if quick else SANDBOX
        _run(demo, workspace)
        finished.touch()
    return workspace


def _run(demo: Demo, workspace: Path) -> None:
    from figa_core.errors import WorseModelError

    try:
        run_demo(demo, workspace, Path("build/sandbox"), Lines(log))
    except WorseModelError as worse:  # after four steps it may be; its pairs are as good
        log(str(worse))


def _few_prompts(directory: Path, say: Say) -> Paths:
    paths: dict[str, dict[str, Any]] = {
        name: dict(of) for name, of in SANDBOX.prepare(directory, say).items()
    }
    for section, settings in _QUICK.items():
        paths[section] = {**paths.get(section, {}), **settings}
    return paths


def study(workspace: Path) -> float:
    """Wall seconds of the command, with its start.

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "study", "shift", "-w", str(workspace)],
        env=child_environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the study ended with code {done.returncode}:\n{done.stdout}")
    return time.perf_counter() - began


def report(seconds: Spread, again: float, study: dict[str, Any], name: str) -> None:
    """Print a table and write the figures."""
    encoder = "all-MiniLM-L6-v2" if installed_encoder() else "the base model"
    table = Table(
        "figa study shift", "seconds", title=f"{study['pairs']:,} pairs, {len(study['nll'])} models"
    )
    table.add_row(f"all passes and embeddings by {encoder}; median [min, max]", str(seconds))
    table.add_row("again, with the log-probabilities kept", f"{again:,.4g}")
    show(table, f"goal: {_GOAL_S:.0f} s")
    figures = {"pairs": study["pairs"], "models": len(study["nll"]), "again_s": again}
    figures["sentence_encoder"] = float(installed_encoder() is not None)
    save(name, {**figures, **seconds.named("study_s")})


if __name__ == "__main__":
    sys.exit(main())
