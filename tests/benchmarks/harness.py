"""Benchmarks by lm-eval: the time of the stage beside that of lm-eval's own command on the same tasks.

    python -m tests.benchmarks.harness [--quick]

The sandbox's model and tasks, by transformers, in turns. The stage starts with a new workspace each time: it
hashes the model, asks lm-eval and stores every score. Prints a line and writes ``build/bench/harness.json``.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from figa_core.config.file import parse_config
from figa_core.harness.environment import HarnessPython, find_harness
from figa_core.harness.survey import look_up
from figa_core.processes.children import child_environment
from figa_core.sandbox.benchmark import GROUP, WRITTEN, write_tasks
from figa_core.sandbox.build import build_sandbox
from tasks.benchmark import benchmark, plan_benchmarks
from tasks.workspace import Workspace
from tests.benchmarks.figures import log, save, show, spread

_ROOT = Path("build/sandbox")
_TASKS = (GROUP, WRITTEN)
_REPEATS, _QUESTIONS = 5, 400
_QUICK_REPEATS, _QUICK_QUESTIONS = 1, 20
_BATCH = 16


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.harness")
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    repeats, questions = (_QUICK_REPEATS, _QUICK_QUESTIONS) if quick else (_REPEATS, _QUESTIONS)
    harness, model = find_harness(), build_sandbox(_ROOT).base_model
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "tasks")
        write_tasks(folder, questions)
        begun = time.perf_counter()
        look_up(harness, _TASKS, folder)  # once for an environment
        survey = time.perf_counter() - begun
        theirs, ours, cpu = [], [], []
        for turn in range(repeats):
            before = _cpu_seconds()
            theirs.append(_bare(harness, model, folder, Path(scratch, f"bare-{turn}")))
            between = _cpu_seconds()
            ours.append(_stage(model, folder, Path(scratch, f"workspace-{turn}")))
            after = _cpu_seconds()
            cpu.append((after - between) / (between - before))
            log(
                f"turn {turn + 1}: lm-eval alone {theirs[-1]:.1f} s ({between - before:.1f} s of CPU time), "
                f"the stage {ours[-1]:.1f} s ({after - between:.1f} s)"
            )
    ratio = spread([own / bare for own, bare in zip(ours, theirs, strict=True)])
    show(
        f"{3 * questions:,} questions by lm-eval alone: {spread(theirs)} s, by the stage: {spread(ours)} s; "
        f"in turns {ratio} of its time, {spread(cpu)} of its CPU time. "
        f"The survey of tasks, once for an environment: {survey:.1f} s"
    )
    figures = {
        **ratio.named("stage_over_bare"),
        **spread(cpu).named("cpu_over_bare"),
        "bare_s": spread(theirs).median,
        "survey_s": survey,
    }
    save("harness-quick" if quick else "harness", figures)


def _bare(harness: HarnessPython, model: Path, folder: Path, output: Path) -> float:
    begun = time.perf_counter()
    command = [harness.python, "-m", "lm_eval", "run", "--model", "hf", "--tasks", ",".join(_TASKS)]
    command += [
        "--model_args",
        f"pretrained={model.resolve()},dtype=float32",
        "--batch_size",
        str(_BATCH),
        "--device",
        "cpu",
    ]
    command += ["--apply_chat_template", "--include_path", folder, "--log_samples", "--output_path", output]
    environment = child_environment(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", OMP_NUM_THREADS="1")
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(done.stderr.decode(errors="replace")[-2000:])
    return seconds


def _cpu_seconds() -> float:
    """Of this process and of those that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _stage(model: Path, folder: Path, directory: Path) -> float:
    harness = {"tasks": list(_TASKS), "engine": "transformers", "include_path": str(folder)}
    data = {
        "workspace": {"path": str(directory)},
        "prompts": {"path": "prompts.jsonl"},
        "generation": {"model": str(model.resolve())},
        "reward": {"model": "reward"},
        "revision": {"model": "m"},
        "evaluation": {"harness": {**harness, "batch_size": _BATCH, "download": False}},
    }
    config = parse_config(data, source="a benchmark", base=directory.parent)
    workspace = Workspace(directory)
    directory.mkdir()
    workspace.database.create()
    begun = time.perf_counter()
    plan = plan_benchmarks(workspace, config, config.generation.model)
    found = benchmark.fn(workspace, "run", config, "base", config.generation.model, plan)
    seconds = time.perf_counter() - begun
    if found.counts.n_out != len(_TASKS):
        raise SystemExit(json.dumps([failure.message for failure in found.failures]))
    return seconds


if __name__ == "__main__":
    main()
