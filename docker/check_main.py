"""In the image `figa`: the pipeline on forty prompts of the sandbox, with two training steps.

`make images` runs it. It fails unless the training made its steps and exported a model.
"""

import json
import sys
from pathlib import Path

from figa_core.sandbox.build import build_sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from flows.demo import SANDBOX, Demo, run_demo, sandbox_paths
from flows.progress import Lines

PROMPTS, STEPS = 40, 2
WORKSPACE = Path("/data/workspaces/check")


def prepare(directory: Path, _say):
    sandbox = build_sandbox(directory)
    rows = sandbox.prompts.read_text("utf-8").splitlines(keepends=True)[:PROMPTS]
    few = WORKSPACE.with_suffix(".jsonl")
    few.write_text("".join(rows), "utf-8")
    paths = sandbox_paths(sandbox)
    return {
        "prompts": {**paths["prompts"], "path": str(few)},
        "generation": {**paths["generation"], "engine": "transformers"},
        "reward": paths["reward"],
        "training": {"max_steps": STEPS, "processes": 1},
        "evaluation": {"baselines": [], "max_prompts": 8},
    }


def main() -> None:
    """Raises AssertionError if something is not there after the run."""
    demo = Demo(SANDBOX.preset, "preparing", prepare, lambda: TeacherProcess(requests_per_minute=6000))
    run_demo(demo, WORKSPACE, Path("/data/sandbox"), Lines(lambda text: print(text, file=sys.stderr)))
    [metrics] = WORKSPACE.glob("trainings/*/metrics.jsonl")
    steps = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    weights = list(WORKSPACE.glob("trainings/*/**/*.safetensors"))
    assert len(steps) >= STEPS, f"{metrics} has {len(steps)} step(s)"
    assert weights, "no model was exported"
    print(f"figa --version, a generation for {PROMPTS} prompts and {STEPS} training steps: all run")


if __name__ == "__main__":
    main()
