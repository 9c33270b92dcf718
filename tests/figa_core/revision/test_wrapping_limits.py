"""The border between an edit and a wrapping, case by case."""

import pytest

from figa_core.revision.wrapping import find_wrapping

LAMP = "Your lamp will arrive in Rome in three days."
RUDE = f"You fool, what a question.\n\n{LAMP}"


def found(draft: str, answer: str, reference: str | None = None, conversation: str = "") -> str:
    return find_wrapping(draft, answer, reference, conversation) or "an edit"


@pytest.mark.parametrize(
    ("draft", "answer", "reference", "reason"),
    [
        (
            "No idea",
            "Steps:\nboil it",
            None,
            "begins with a label that the draft has not ('Steps:')",
        ),
        ("No idea", "Steps:\nboil it\n- wait", None, "begins with a label"),
        ("No idea", "Steps:\n- boil it", None, "an edit"),
        ("No idea", "Steps:", None, "an edit"),
        ("No idea", "Steps\nboil it", None, "an edit"),
        ("No idea:\nnone", "Steps:\nboil it", None, "an edit"),
        ("No idea\nnone:", "Steps:\nboil it", None, "begins with a label"),
        ("No idea", "Steps:\nboil it", "Steps: boil", "an edit"),
        ("No idea", "Steps:\nboil it", "Do this. Steps: boil", "begins with a label"),
        ("No idea", "Steps:\nboil it", "Steps\nboil", "an edit"),
        ("No idea", "Steps:\nboil it", "Boil in steps", "begins with a label"),
    ],
)
def test_a_label_above_a_text_that_is_all_new(draft: str, answer: str, reference: str | None, reason: str):
    assert reason in found(draft, answer, reference)


@pytest.mark.parametrize("new", ["What now follows:", "*What now follows*", "(What now follows)", "# What"])
def test_a_title_is_not_an_edit_of_a_plain_line(new: str):
    heading = "# Lamps\n"  # a heading in place of a plain first line is told by its mark
    draft, answer = f"{RUDE}\n{heading}", f"{new}\n\n{LAMP}\n{heading}"
    assert "begins with" in found(draft, answer)
    assert found(draft, answer.replace(new, "What now follows")) == "an edit"
    assert "ends with" in found(f"{LAMP}\n\nYou fool, leave me.", f"{LAMP}\n\n{new}")
    assert found(f"{LAMP}\n\nYou fool, leave me.", f"{LAMP}\n\nThat follows") == "an edit"


@pytest.mark.parametrize("old", ["Say you fool:", "# Say you fool"])
@pytest.mark.parametrize("new", ["What now follows:", "# What now follows"])
def test_a_title_that_replaces_a_title_is_an_edit(old: str, new: str):
    if old[0] == new[0] or new[0] != "#":
        assert found(f"{old}\n\n{LAMP}", f"{new}\n\n{LAMP}") == "an edit"
    assert found(f"{LAMP}\n\n{old}", f"{LAMP}\n\n{new}") == "an edit"
    bare, colon = new.removesuffix(":"), ":" * new.endswith(":")
    assert found(f"{LAMP}\n\n{old}", f"{LAMP}\n\n{bare} and then more{colon}") == "an edit"
    assert "ends with" in found(f"{LAMP}\n\n{old}", f"{LAMP}\n\n{bare} and then much more{colon}")


@pytest.mark.parametrize(
    ("block", "reference", "reason"),
    [
        ("abcd wxyz", "abcd", "an edit"),  # half of the letters
        ("abcd wxyzz", "abcd", "no counterpart"),
        ("abcd abcd\n\nwxyz wxyz", "abcd abcd", "no counterpart"),
        ("abcd abcd\n\nwxyz wxyz", "abcd abcd and wxyz wxyz", "an edit"),
    ],
)
def test_new_paragraphs_are_an_edit_if_half_of_each_is_in_the_reference(
    block: str, reference: str, reason: str
):
    assert reason in found(LAMP, f"{block}\n\n{LAMP}", reference)
    assert reason in found(LAMP, f"{LAMP}\n\n{block}", reference)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Dear Ann,", "an edit"),
        ("Dear Ann, ", "an edit"),
        ("Liebe Ann、", "an edit"),
        ("亲爱的安娜，", "an edit"),
        ("عزيزي آن،", "an edit"),
        ("Dear Ann", "no counterpart"),
        ("one two and three four and five six,", "an edit"),
        ("one two and three four and five six seven,", "no counterpart"),
    ],
)
def test_a_salutation_is_short_and_ends_in_a_comma(line: str, reason: str):
    assert reason in found(LAMP, f"{line}\n\n{LAMP}")


@pytest.mark.parametrize(
    ("gone", "new", "reason"),
    [
        ("one two", "a b c d", "an edit"),
        ("one two", "a b c d e", "no counterpart"),
        ("one two three", "a b c d e f", "an edit"),
    ],
)
def test_new_lines_replace_the_drafts_if_half_as_many_words_are_gone(gone: str, new: str, reason: str):
    assert reason in found(f"{gone}\n{LAMP}", f"{new}\n{LAMP}")
    assert reason in found(f"{LAMP}\n{gone}", f"{LAMP}\n{new}")


def test_a_mark_is_single_if_their_number_is_odd():
    draft = "He said that it is no good."
    assert found(draft, '"He" said that it is "no" good.') == "an edit"
    assert "begins with '\"' without its partner" in found(draft, '"He" said that it is "no good.')
    assert "ends with ')' without its partner" in found(draft, "He said that it is no good)")
    assert found("(He said that it is no good.", "(He said that it is not good.") == "an edit"


@pytest.mark.parametrize(("length", "shown"), [(60, "x" * 60), (61, "x" * 59 + "…")])
def test_the_wrapping_is_shown_up_to_a_length(length: int, shown: str):
    assert f"({shown!r})" in found(LAMP, f"{'x' * length}\n\n{LAMP}")
    assert "('x y')" in found(LAMP, f"x \t y\n\n{LAMP}")


@pytest.mark.parametrize(("more", "reason"), [("bbb", "an edit"), ("bbbb", "ends with something")])
def test_a_line_is_moved_if_seven_letters_in_ten_are(more: str, reason: str):
    assert reason in found(f"aaaaaaa\n{LAMP}", f"{LAMP}\naaaaaaa {more}")


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        ("Use this\nx = f(1);", "an edit"),
        ("Use this\n\nx = f(1);", "an edit"),
        ("Use this\nand that\nx = f(1);", "ends with something"),
        ("x = f(1);", "ends with something"),
    ],
)
def test_a_line_of_code_continues_a_draft_that_is_half_code(draft: str, reason: str):
    assert reason in found(draft, f"{draft}\nreturn y")
    assert "ends with something" in found(draft, f"{draft}\nand that is all")


def test_the_question_is_repeated_if_it_ends_as_a_sentence():
    asked = "Where is my lamp from"
    repeated = f"the answer repeats the conversation ('{asked}?')"
    assert found(LAMP, f"{asked}? {LAMP}", None, f"{asked}?") == repeated
    assert found(LAMP, f"{asked} {LAMP}", None, f"{asked}?") == "an edit"
    assert found(LAMP, f"{asked}? {LAMP}", None, "Who is there?") == "an edit"
    assert found(LAMP, f"{asked}? {LAMP}", None, "") == "an edit"
    assert found(LAMP, f"{asked}? {LAMP}", f"{asked}", f"{asked}?") == "an edit"


def test_a_note_in_the_words_of_the_draft_is_a_note():
    draft = "It arrives in Rome on Monday."
    reason = found(draft, "It arrives in Rome on Tuesday. (Changed Monday to Tuesday.)")
    assert reason == "the answer ends with a note that the draft has not ('. (Changed Monday to Tuesday.)')"
    assert found(draft, "It arrives in Rome on Tuesday. Not on Monday as was said.") == "an edit"


NUMBERS = [f"w{number:02}" for number in range(1, 31)]


@pytest.mark.parametrize(
    ("words", "again", "others", "reason"),
    [
        (12, 3, 0, "an edit"),
        (12, 4, 0, "twice"),  # four words more
        (14, 4, 0, "twice"),
        (15, 4, 0, "an edit"),  # or a third more
        (15, 5, 0, "twice"),
        (12, 2, 2, "twice"),  # half of the new words are the draft's
        (12, 2, 3, "an edit"),
    ],
)
def test_repeated_words_of_the_draft_are_not_an_edit(words: int, again: int, others: int, reason: str):
    known = NUMBERS[:words]
    new = known[2 : 2 + again] + ["x99", "y99", "z99"][:others]
    assert reason in found(" ".join(known), " ".join([*known[:8], *new, *known[8:]]))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("a b c d e f g h i j a b c d e f g h i j", "twice"),
        ("a b c d e f g h i j a b c d e f g h i x", "twice"),  # nine letters in ten
        ("a b c d e f g h i j a b c d e f g h x y", "an edit"),
        ("a b c d e f a b c d x y", "an edit"),
    ],
)
def test_a_rewrite_given_twice_is_recognised(answer: str, reason: str):
    assert reason in found("No idea.", answer)
