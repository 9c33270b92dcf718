"""A reasoning model's thoughts are not part of its answer."""

import pytest

from figa_core.revision.thoughts import strip_thoughts

DRAFT = "Hello Ann, your blue lamp will arrives in three days."
FIXED = "Hello Ann, your blue lamp will arrive in three days."
THOUGHT = "Few edits are wanted. 'will arrives' is wrong."
OWN_DRAFT = (
    "<think>The user asks for two plus two, and that is surely five.</think>\n\nIt is five, as you know."
)
OWN_FIXED = OWN_DRAFT.replace("five", "four")


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>\n{THOUGHT}\n</think>\n\n{FIXED}",
        f"{THOUGHT}\n</think>\n\n{FIXED}",
        f"<think>\n\n</think>\n\n{FIXED}",
        f"<think></think>{FIXED}",
        f"<THINK>{THOUGHT}</THINK>{FIXED}",
        f"<thinking>{THOUGHT}</thinking>\n{FIXED}",
        f'<think time="3s">{THOUGHT}</think>\n{FIXED}',
        f"<thought>{THOUGHT}</thought>\n{FIXED}",
        f"<reasoning>{THOUGHT}</reasoning>\n{FIXED}",
        f"<reflection>{THOUGHT}</reflection>\n{FIXED}",
        f"<analysis>{THOUGHT}</analysis>\n{FIXED}",
        f"<scratchpad>{THOUGHT}</scratchpad>\n{FIXED}",
        f"<inner_monologue>{THOUGHT}</inner_monologue>\n{FIXED}",
        f"<seed:think>{THOUGHT}</seed:think>{FIXED}",
        f"◁think▷{THOUGHT}◁/think▷{FIXED}",
        f"[THINK]{THOUGHT}[/THINK]{FIXED}",
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{FIXED}",
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final <|constrain|>json"
        f"<|message|>{FIXED}<|return|>",
        f"analysisWe want few edits.assistantfinal{FIXED}",
        f"analysisWe want few edits.assistantfinal{FIXED}<|return|>",
        f"Here is my thought process:\n{THOUGHT}\n\nHere is my response:\n{FIXED}\n<|im_end|>\n</s>",
        f"<|channel>thought\n{THOUGHT}\n<channel|>{FIXED}<turn|>",
        f"<|START_THINKING|>{THOUGHT}<|END_THINKING|><|START_RESPONSE|>{FIXED}<|END_RESPONSE|>",
        f"<|begin_of_thought|>{THOUGHT}<|end_of_thought|>\n<|begin_of_solution|>{FIXED}<|end_of_solution|>",
        f"<|inner_prefix|>{THOUGHT}<|inner_suffix|>{FIXED}",
        f"Here is my thought process:\n{THOUGHT}\n\nHere is my response:\n{FIXED}",
        f"<think>{THOUGHT}</think>\n<answer>\n{FIXED}\n</answer>",
        f"<thinking>{THOUGHT}</thinking><reflection>fine</reflection>\n<output>{FIXED}</output>",
        f"<think>a <think>b</think> c</think>\n{FIXED}",
        f"<think>a</think>\n<think>b</think>\n{FIXED}",
        f"{FIXED}\n<think>Was that right?</think>",
        f"{FIXED}<|im_end|>",
        f"{FIXED}</s>",
        FIXED,
    ],
)
def test_thoughts_are_removed(answer: str):
    stripped = strip_thoughts(answer, DRAFT)
    assert (stripped.text.strip(), stripped.problem) == (FIXED, None)


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>\n{THOUGHT}",
        f"<think>{THOUGHT}</think>",
        f"<think>{THOUGHT}</think><answer></answer>",
        "<think></think>",
        f"<think>{THOUGHT}\n\n{FIXED}",
        f"<think>a</think>\n<think>{FIXED}",
        f"{FIXED}\n<think>Was that right?",
        f"◁think▷{THOUGHT} {FIXED}",
        f"<|channel|>analysis<|message|>{THOUGHT} {FIXED}",
        f"<|channel>thought\n{FIXED}",
    ],
)
def test_thoughts_without_an_answer_are_a_problem(answer: str):
    stripped = strip_thoughts(answer, DRAFT)
    assert stripped.text == ""
    assert "thoughts" in str(stripped.problem)


@pytest.mark.parametrize("answer", [f"<think>{THOUGHT}", f"<|channel|>analysis<|message|>{THOUGHT}"])
def test_thoughts_that_do_not_end_were_cut(answer: str):
    assert strip_thoughts(answer, DRAFT).cut


def test_a_drafts_own_thoughts_stay():
    assert strip_thoughts(OWN_FIXED, OWN_DRAFT) == (OWN_FIXED, None, False)
    assert strip_thoughts(OWN_DRAFT, OWN_DRAFT) == (OWN_DRAFT, None, False)


def test_thoughts_before_a_draft_that_has_thoughts_are_removed():
    assert strip_thoughts(f"<think>{THOUGHT}</think>\n\n{OWN_FIXED}", OWN_DRAFT).text.strip() == OWN_FIXED
    assert strip_thoughts(f"{THOUGHT}</think>\n\n{OWN_FIXED}", OWN_DRAFT).text.strip() == OWN_FIXED


def test_thoughts_that_replace_the_drafts_are_no_revision_of_them():
    answer = (
        "<think>Few edits are wanted here, so I only change the number.</think>\n\nIt is four, as you know."
    )
    assert "not the draft's" in str(strip_thoughts(answer, OWN_DRAFT).problem)


def test_the_end_of_a_turn_that_the_draft_mentions_stays():
    draft, fixed = f"{DRAFT}</s>", f"{FIXED}</s>"
    for answer in (fixed, f"<think>{THOUGHT}</think>{fixed}", f"analysisFew edits.assistantfinal{fixed}"):
        assert strip_thoughts(answer, draft) == strip_thoughts(answer, DRAFT, draft) == (fixed, None, False)
        assert strip_thoughts(answer, DRAFT) == (FIXED, None, False)


@pytest.mark.parametrize(
    ("thoughts", "foreign"),
    [
        ("<think> a b c d e f g </think>", False),  # too few words to compare
        ("<think> a b c d e f g h </think>", True),
        ("<think> 1 2 3 d e f g h i j </think>", False),  # three words in ten are the draft's
        ("<think> 1 2 d e f g h i j k </think>", True),
        ("Well then. <think> 1 2 3 d e f g h i j </think>", False),
    ],
)
def test_thoughts_are_foreign_above_a_number_of_words_and_a_share_of_edits(thoughts: str, foreign: bool):
    draft = "<think> 1 2 3 4 5 6 7 8 9 10 </think> It is five."
    problem = strip_thoughts(f"{thoughts} It is four.", draft).problem
    assert (problem is not None) is foreign


def test_thoughts_whose_beginning_is_not_marked_are_compared_from_the_texts_start():
    draft = "1 2 3 4 5 6 7 8 9</think> It is five. <think>"
    assert strip_thoughts("a b c d e f g h</think> It is four. <think>", draft).problem is not None
    assert strip_thoughts("1 2 3 4 5 6 7 8</think> It is four. <think>", draft).problem is None


def test_without_a_draft_every_mark_is_one_of_thoughts():
    assert strip_thoughts(f"<think>{THOUGHT}</think>{FIXED}") == (FIXED, None, False)
    assert strip_thoughts(f"<think>{FIXED}").cut


def test_of_the_channels_of_gpt_oss_the_last_one_is_the_answer():
    calls = "".join(f"<|channel|>{name}<|message|>hm<|end|>" for name in ("analysis", "commentary"))
    for before in ("", calls, calls + calls):
        assert strip_thoughts(f"{before}<|channel|>final<|message|>{FIXED}", DRAFT).text == FIXED
        assert strip_thoughts(f"<|channel|>final<|message|>{FIXED}{before}", DRAFT).cut is bool(before)


def test_tags_around_the_answer_that_the_draft_has_too_stay():
    answer = f"<answer>{FIXED}</answer>"
    for draft, text in ((DRAFT, FIXED), (f"<answer>{DRAFT}</answer>", answer)):
        assert strip_thoughts(f"<think>{THOUGHT}</think>{answer}", draft).text == text


def test_a_mark_that_the_reference_mentions_is_text():
    reference = "Qwen ends its thoughts with </think> and DeepSeek does the same."
    answer = "Qwen ends its thoughts with </think> and that is all."
    assert (
        strip_thoughts(answer, "Qwen ends its thoughts with a word and that is all.", reference).text
        == answer
    )


def test_text_that_only_looks_like_a_mark_stays():
    for text in ("I think> therefore", "an [analysis] of it", "</body> is a tag, and <thinker> is none"):
        assert strip_thoughts(text, DRAFT) == (text, None, False)
