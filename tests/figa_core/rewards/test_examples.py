"""The programs that come with the package, in the process that rates with them."""

import math
from pathlib import Path

import pytest

from figa_core.ports import RewardRequest, RowFailure
from figa_core.records import Message
from figa_core.rewards.examples import gives_the_answer, is_brief
from figa_core.rewards.program import Program
from figa_core.rewards.worker import ProgramSettings

ASKED = (Message("user", "How many?"),)


@pytest.mark.parametrize(
    ("text", "answer", "value"),
    [
        ("It is 6 * 7 = 42.", 42, 1.0),
        ("It is 1,042.50", "1042.5", 1.0),
        ("41, not 42? 43", 42, 0.0),
        ("I do not know.", 42, 0.0),
        ("-3", -3, 1.0),
    ],
)
def test_the_last_number_is_the_answer(text: str, answer: object, value: float) -> None:
    assert gives_the_answer(ASKED, text, answer=answer) == value


def test_without_a_number_to_compare_with_it_cannot_say() -> None:
    assert math.isnan(gives_the_answer(ASKED, "42", answer=None))
    assert math.isnan(gives_the_answer(ASKED, "42", answer="many"))


def test_more_words_than_enough_are_worth_less() -> None:
    assert (is_brief(ASKED, "word " * 120), is_brief(ASKED, "word " * 240), is_brief(ASKED, "")) == (
        1,
        0.5,
        0,
    )


def test_they_run_as_reward_programs(tmp_path: Path) -> None:
    rows = [RewardRequest(str(i), ASKED, "42", {"answer": value}) for i, value in enumerate((42, 43, None))]
    right = ProgramSettings("figa_core.rewards.examples:gives_the_answer", ("answer",))
    with Program(right, tmp_path / "log") as program:
        found = [row for batch in program.score(rows) for row in batch]
    assert found == [("0", 1.0), ("1", 0.0), RowFailure("2", "the program cannot say")]
    brief = ProgramSettings("figa_core.rewards.examples:is_brief")
    with Program(brief, tmp_path / "log") as program:
        assert list(program.score(rows[:1])) == [[("0", 1.0)]]
