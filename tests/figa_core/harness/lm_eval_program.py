"""A program in place of lm-eval's environment: it answers as worker and survey do, without lm-eval."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from figa_core.harness.environment import PYTHON_VARIABLE, HarnessPython, find_harness

PROGRAM = """#!{python}
import json, os, pathlib, sys
if "-c" in sys.argv:
    print("release {release} {has_vllm}")
    sys.exit()
if "figa_core.harness.survey" in sys.argv:
    question = json.loads(sys.stdin.read())
    known = [name for name in question["names"] if name not in {unknown}]
    close = dict((name, ["one_like_it"]) for name in question["names"] if name not in known)
    own = [name for name in known if name.startswith("own_")]
    silent = [name for name in known if name.startswith("silent_")]
    with (pathlib.Path(__file__).parent / "surveys").open("a") as file:
        file.write("x")
    print(json.dumps(dict(known=known, own=own, close=close, silent=silent)))
    sys.exit()
request = json.loads(pathlib.Path(sys.argv[sys.argv.index("--request") + 1]).read_text())
output = pathlib.Path(request["output"])
def write(path, content):
    path.with_suffix(".new").write_text(json.dumps(content))
    path.with_suffix(".new").rename(path)
for task, key in request["tasks"].items():
    with (pathlib.Path(__file__).parent / "asked").open("a") as file:
        file.write(f"{{pathlib.Path(request['model']).name}} {{task}}\\n")
    if task == "dies":
        print("a traceback of the model's own", flush=True)
        os._exit(7)
    if task == "fails":
        write(output / f"{{key}}.failed.json", dict(task=task, kind="{kind}", message="no data"))
    elif task == "garbage":
        write(output / f"{{key}}.json", dict(key=key, task=task, seconds=1, versions={{}}, results=3))
    else:
        write(output / f"{{key}}.json", dict(json.loads({result!r}), key=key, task=task))
"""


def lm_eval_results(task: str = "own_choice", values: tuple[float, ...] = (1.0, 0.0, 1.0, 1.0)) -> Any:
    """What a worker writes about a task with these values of its questions, but for the key."""
    mean = sum(values) / len(values)
    error = (sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)) ** 0.5
    samples = [
        {"doc_id": i, "doc_hash": f"{i:064x}", "filter": "none", "values": {"acc": value}}
        for i, value in enumerate(values)
    ]
    return {
        "task": task,
        "seconds": 2.5,
        "versions": {"lm_eval": "0.4.13", "transformers": "5.19.0"},
        "results": {
            "results": {
                task: {
                    "name": task,
                    "alias": task,
                    "sample_len": len(values),
                    "acc,none": mean,
                    "acc_stderr,none": error,
                }
            },
            "group_subtasks": {},
            "versions": {task: 1.0},
            "higher_is_better": {task: {"acc": True}},
            "n-samples": {task: {"original": 10, "effective": len(values)}},
            "samples": {task: samples},
        },
    }


def use_program(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    result: Any = None,
    release: str = "0.4.13",
    has_vllm: bool = False,
    unknown: tuple[str, ...] = (),
    kind: str = "DatasetNotFoundError",
) -> HarnessPython:
    """Let lm-eval's environment be this program."""
    environment = folder / f"environment-{len(list(folder.glob('environment-*')))}" / "bin"
    environment.mkdir(parents=True)
    path = environment / "python"  # a new one each time: what an interpreter has is looked up once
    text = PROGRAM.format(
        python=sys.executable,
        release=release,
        has_vllm=has_vllm,
        unknown=unknown,
        kind=kind,
        result=json.dumps(lm_eval_results() if result is None else result),
    )
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv(PYTHON_VARIABLE, str(path))
    return find_harness()


def asked(harness: HarnessPython) -> list[str]:
    """Model and task, in the order in which the worker took them."""
    path = harness.python.parent / "asked"
    return path.read_text().splitlines() if path.exists() else []
