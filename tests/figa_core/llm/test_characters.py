"""Halves of characters, and invisible characters."""

import pytest

from figa_core.llm.characters import whole_characters, without_invisible_ends
from figa_core.revision.answer import read_answer


def test_half_a_character_is_removed_and_two_halves_are_joined():
    assert whole_characters("a \ud83d b") == "a  b"
    assert whole_characters("\ud83d\ude00 ü") == "😀 ü"


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u2060"])
def test_an_invisible_character_that_only_the_answer_has_is_removed(mark: str):
    assert without_invisible_ends(f" {mark}Yes.{mark}\n", "Yes") == "Yes."
    assert without_invisible_ends(f"{mark}Yes.", f"{mark}Yes") == f"{mark}Yes."
    assert without_invisible_ends(" Yes. ", "Yes") == " Yes. "


def test_half_an_emoji_in_the_json_of_an_answer_is_removed():
    answer = read_answer('{"revised_response": "The Moon is far \\ud83d."}', "The Moon are far.")
    assert answer.text == "The Moon is far ."
