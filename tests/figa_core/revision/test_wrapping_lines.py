"""Wrappings on the first and the last line of a revision, case by case."""

import pytest

from figa_core.revision.wrapping import find_wrapping

GREEK = "alpha beta gamma delta epsilon zeta eta theta"
NEW = [f"n{number:02}" for number in range(1, 13)]
TEN, ELEVEN = " ".join(NEW[:10]), " ".join(NEW[:11])


def found(draft: str, answer: str, reference: str | None = None, conversation: str = "") -> str:
    return find_wrapping(draft, answer, reference, conversation) or "an edit"


@pytest.mark.parametrize(
    ("head", "lost", "label"),
    [
        ("New text:", "", "New text:"),
        ("Dear Ann,\nhow are you,\nNew text:", "", "New text:"),
        ("New text: all", "", "New text: all"),
        ("New text: all", "one", "New text: all"),  # "all" takes the place of "one"
        ("New text: all", "one two", None),
        ("Quite new text: all", "one two", None),
        ("New text -", "", "New text -"),
        ("New text -", "one", None),
        (f"{TEN} -", "", f"{TEN} -"),
        (f"{TEN} -", "one two", f"{TEN} -"),
        (f"{TEN} -", "one two three", None),
        (f"{ELEVEN} -", "", None),
        (f"{TEN}: all", "", f"{TEN}: all"),
        (f"{ELEVEN}: all", "", None),
        ("New text", "", None),
    ],
)
def test_a_label_before_a_text_is_short_and_replaces_nothing(head: str, lost: str, label: str | None):
    reason = (
        "an edit" if label is None else f"the answer begins with a label that the draft has not ({label!r})"
    )
    assert found(f"{lost} {GREEK}", f"{head} {GREEK}") == reason


@pytest.mark.parametrize(
    ("question", "reference", "conversation", "repeated"),
    [
        ("aa bb cc dd?", None, "aa bb cc dd?", True),
        ("aa bb cc?", None, "aa bb cc?", False),  # too short to decide
        ("aa bb cc dd?", "aa bb", "aa bb cc dd?", False),  # half of it is the reference's
        ("aa bb cc dd?", "aa", "aa bb cc dd?", True),
        ("aaaaaaa b c d?", None, "Aaaaaaa!", True),  # seven letters in ten
        ("aaaaaaa b c dd?", None, "Aaaaaaa!", False),
    ],
)
def test_a_question_is_repeated_if_most_of_it_was_asked(
    question: str, reference: str | None, conversation: str, repeated: bool
):
    reason = found(GREEK, f"{question} {GREEK}", reference, conversation)
    assert reason == (f"the answer repeats the conversation ({question!r})" if repeated else "an edit")


@pytest.mark.parametrize(
    ("old", "new", "reference", "note"),
    [
        (".", ". (All is new.)", None, ". (All is new.)"),
        (". (All is old.)", ". (Something is new.)", None, None),
        (".", ". (aaaa bbbb)", "aaaa", None),
        (".", ". (aaaa bbbb)", "aaa", ". (aaaa bbbb)"),
        (".", f". {TEN}: all", None, f". {TEN}: all"),
        (".", f". {ELEVEN}: all", None, None),
        ("", " - all new", None, " - all new"),
        (".", " - all new", None, None),
    ],
)
def test_a_note_after_a_text_is_set_off_and_not_in_the_draft(
    old: str, new: str, reference: str | None, note: str | None
):
    reason = found(f"{GREEK}{old}", f"{GREEK}{new}", reference)
    shown = None if note is None else repr(note.strip() if len(note) < 60 else f"{note[:59]}…")
    assert reason == (
        "an edit" if note is None else f"the answer ends with a note that the draft has not ({shown})"
    )


def test_in_scripts_without_spaces_a_space_sets_a_bracket_off():
    assert "a note that the draft has not" in found("灯三天内到", "灯五天内到 （改了日期）")
    assert found("灯三天内到", "灯五天内到（改了日期）") == "an edit"


@pytest.mark.parametrize(
    ("tail", "reference", "note"),
    [
        ('"bluu" was meant', None, True),
        ('"bluu" was meant', "bluu", False),
        ('"bluu" was meant', "blue", True),
        ('"bluu" was meant', "bluu and more", False),
        ('"very" nice', None, False),
        ('"theta" nice', None, False),
        ('"of x" it', None, True),
        ('"q and" it', None, False),  # one letter is not enough
        ("x → y", None, True),
        ("x → y", "x → y", False),
    ],
)
def test_quoted_words_that_the_answer_removed_are_a_note_on_its_edits(
    tail: str, reference: str | None, note: bool
):
    reason = found(f"{GREEK} bluu of q iota kappa", f"{GREEK} blue iota kappa {tail}", reference)
    assert ("a note on its edits" in reason) is note


@pytest.mark.parametrize("rule", ["***", "---", "===", "~~~ x", "- - -"])
def test_a_rule_that_the_draft_does_not_have_is_a_wrapping(rule: str):
    assert "begins with" in found(GREEK, f"{rule}\n{GREEK}")
    assert found(GREEK, f"{GREEK}\n{rule}") == f"the answer goes on after the revision, behind {rule!r}"
    for draft in (f"{rule}\n{GREEK}", f"{GREEK}\n{rule}"):
        assert found(draft, draft.replace("delta", "iota")) == "an edit"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (f"```\n{GREEK}\n```", "the answer is wrapped in a code fence"),
        (f"~~~\n{GREEK}\n~~~", "the answer is wrapped in a code fence"),
        (f"“{GREEK}„", "the answer is wrapped in quotation marks (“ „)"),
        (f"({GREEK}]", "the answer is wrapped in ( ]"),
        (f"- {GREEK}", "the answer begins with '-', which the draft does not"),
        ("- alpha beta gamma delta\n- epsilon zeta eta theta", "an edit"),  # made into a list
        (f"> {GREEK}", "the answer begins with '>', which the draft does not"),
        (GREEK.replace("beta", '"beta'), "an edit"),
    ],
)
def test_marks_around_a_text_are_named(answer: str, reason: str):
    assert found(GREEK, answer) == reason


def test_a_mark_that_the_reference_begins_with_is_an_edit():
    assert found(GREEK, f"# {GREEK}", f" # {GREEK}") == "an edit"
    assert "begins with '#'" in found(GREEK, f"# {GREEK}", GREEK)


def test_a_line_with_half_of_its_letters_in_the_draft_has_a_counterpart_there():
    assert found(f"aaaa {GREEK}", f"aaaa bbbb\n{GREEK}") == "an edit"
    assert "no counterpart" in found(f"aaaa {GREEK}", f"aaaa bbbbb\n{GREEK}")
