"""Which answers are revisions."""

import pytest

from figa_core.records import RevisionStatus
from figa_core.revision.thoughts import Answer
from figa_core.revision.validation import judge_answer

DRAFT = "Hello Ann, your blue lamp will arrive in Rome in three days."


def judge(
    answer: str | None, finish_reason: str | None = "stop", refusal: str | None = None, draft: str = DRAFT
):
    return judge_answer(draft, answer, finish_reason, refusal)


@pytest.mark.parametrize(
    "answer",
    [
        DRAFT.replace("blue", "red"),
        DRAFT + " Thank you for your patience!",
        "Dear Ann, your lamp, a red one, will arrive in Rome in two days.",
        "Sure! " + DRAFT.replace("blue", "red"),
        "Here is what I found: your blue lamp will arrive in Rome in three days.",
    ],
)
def test_a_small_change_succeeds(answer: str):
    assert judge(answer) == (RevisionStatus.SUCCEEDED, None)


@pytest.mark.parametrize("answer", [DRAFT, f"\n {DRAFT}\n"])
def test_the_same_text_is_unchanged_whatever_white_space_is_at_its_ends(answer: str):
    assert judge(answer).status is RevisionStatus.UNCHANGED


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \n", "empty"),
        (f"Sure, here is the revised response: {DRAFT}", "preamble"),
        (f"Here's the corrected version:\n\n{DRAFT}", "preamble"),
        (f"Revised response: {DRAFT}", "preamble"),
        (f"I have corrected the colour. {DRAFT}", "preamble"),
        (f"<response>\n{DRAFT}\n</response>", "tags"),
        (f"{DRAFT}</response>", "tags"),
        (f"```\n{DRAFT}\n```", "code fence"),
        (f'"{DRAFT}"', "quotation"),
        ("Completely other words stand at this place, and none of them was there before us.", "rewrite"),
    ],
)
def test_an_answer_that_is_no_revision_is_rejected_with_the_reason(answer: str | None, reason: str):
    judgement = judge(answer)
    assert judgement.status is RevisionStatus.REJECTED
    assert reason in str(judgement.reason)


def test_an_answer_cut_by_length_is_rejected_however_good_it_looks():
    assert judge(DRAFT.replace("blue", "red"), "length").status is RevisionStatus.REJECTED


@pytest.mark.parametrize(
    ("answer", "finish_reason", "refusal"),
    [
        (None, "stop", "I will not"),
        ("some", "content_filter", None),
        ("I'm sorry, but I can't help with that.", "stop", None),
        ("I cannot assist with this request.", "stop", None),
    ],
)
def test_a_refusal_is_a_refusal(answer: str | None, finish_reason: str, refusal: str | None):
    assert judge(answer, finish_reason, refusal).status is RevisionStatus.REFUSED


def test_a_preamble_or_tag_of_the_draft_is_allowed_in_the_answer():
    preamble = "Here is the updated version: it has two pages and a cover."
    assert judge(preamble.replace("two", "three"), draft=preamble).status is RevisionStatus.SUCCEEDED
    tagged = "Write <response> before and after all of your words, please do."
    assert judge(tagged.replace("all", "each"), draft=tagged).status is RevisionStatus.SUCCEEDED


def test_a_short_draft_may_change_entirely():
    assert judge("Yes, it arrives on Monday.", draft="No.").status is RevisionStatus.SUCCEEDED
    assert judge("Something.", draft="").status is RevisionStatus.SUCCEEDED


def test_the_limit_of_a_rewrite_is_a_setting():
    answer = DRAFT.replace("blue", "red")
    assert judge_answer(DRAFT, answer, "stop", None, max_edit_share=0.01).status is RevisionStatus.REJECTED


def test_a_draft_in_a_script_without_spaces_may_not_be_rewritten_either():
    draft = "您的包裹已于星期一离开仓库，将于星期五中午之前送达。"
    other = "今天的天气很好，我们一起去公园散步，然后在湖边的餐厅吃午饭。"
    assert "rewrite" in str(judge(other, draft=draft).reason)
    assert judge(draft.replace("五", "四"), draft=draft).status is RevisionStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("finish_reason", "status"),
    [
        ("stop", RevisionStatus.SUCCEEDED),
        ("eos", RevisionStatus.SUCCEEDED),
        ("end_turn", RevisionStatus.SUCCEEDED),
        ("STOP", RevisionStatus.SUCCEEDED),
        ("COMPLETE", RevisionStatus.SUCCEEDED),
        (None, RevisionStatus.SUCCEEDED),
        ("", RevisionStatus.SUCCEEDED),
        ("length", RevisionStatus.REJECTED),
        ("max_tokens", RevisionStatus.REJECTED),
        ("model_length", RevisionStatus.REJECTED),
        ("error", RevisionStatus.REJECTED),
        ("tool_calls", RevisionStatus.REJECTED),
        ("something new", RevisionStatus.REJECTED),
        ("SAFETY", RevisionStatus.REFUSED),
        ("RECITATION", RevisionStatus.REFUSED),
    ],
)
def test_an_answer_that_did_not_end_well_is_no_success(finish_reason: str | None, status: RevisionStatus):
    judgement = judge(DRAFT.replace("blue", "red"), finish_reason)
    assert judgement.status is status
    if status is RevisionStatus.REJECTED and finish_reason in ("error", "tool_calls", "something new"):
        assert repr(finish_reason) in str(judgement.reason)


def test_a_problem_found_while_reading_is_the_reason():
    answer = Answer("", "the answer holds thoughts only")
    assert judge_answer(DRAFT, answer, "stop", None) == (RevisionStatus.REJECTED, answer.problem)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (f"<RESPONSE>{DRAFT}</RESPONSE>", "tags"),
        (f"< response >{DRAFT}", "tags"),
        (f"{DRAFT}<|im_end|>\n<|im_start|>user", "control tokens"),
        (f"[INST]{DRAFT}[/INST]", "control tokens"),
        (f"{DRAFT}<end_of_turn>\n<start_of_turn>user", "control tokens"),
        (f"{DRAFT}\\n\\nBye.", "escaped characters"),
        (DRAFT.replace(",", "&#39;"), "escaped characters"),
        (DRAFT.replace("blue", "bl\\u00fce"), "escaped characters"),
        (DRAFT.replace("blue", "bl\ufffde"), "could not be decoded"),
        (DRAFT.replace("blue", "bl\x00e"), "could not be decoded"),
    ],
)
def test_leftovers_of_a_prompt_or_an_encoding_are_rejected(answer: str, reason: str):
    judgement = judge(answer)
    assert judgement.status is RevisionStatus.REJECTED
    assert reason in str(judgement.reason)


def test_leftovers_that_the_draft_or_the_reference_has_too_are_text():
    draft = "Print a line break with \\n or the sign &amp; or the mark <|im_end|>, as you like it."
    assert judge(draft.replace("line", "new"), draft=draft).status is RevisionStatus.SUCCEEDED
    answer, reference = "Use \\n or &amp; at the end, as you like it.", "The end is \\n or &amp; here."
    without = judge_answer("Use a mark at the end, as you like it.", answer, "stop", None)
    assert without.status is RevisionStatus.REJECTED
    with_it = judge_answer(
        "Use a mark at the end, as you like it.", answer, "stop", None, reference=reference
    )
    assert with_it.status is RevisionStatus.SUCCEEDED


@pytest.mark.parametrize(
    "change",
    [
        "~~blue~~ red",
        "**red**",
        "*red*",
        "==red==",
        "[-blue-]{+red+}",
        "<del>blue</del><ins>red</ins>",
        "<mark>red</mark>",
        "[red]",
        "red [corrected]",
    ],
)
def test_an_edit_that_is_marked_as_one_is_rejected(change: str):
    judgement = judge(DRAFT.replace("blue", change))
    assert judgement.status is RevisionStatus.REJECTED
    assert "marks" in str(judgement.reason)
    marked = judge_answer(DRAFT, DRAFT.replace("blue", change), "stop", None, reference=change)
    assert marked.status is RevisionStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("draft", "answer"),
    [
        ("The **blue** lamp will be here in three days.", "The **red** lamp will be **here** in three days."),
        ("So x^2 is 2*3*4 and that is x times x here.", "So x**2 is 2*3*4 and that is x**2 in Python."),
        (
            "The first item is a(0) and the last is a(1) here.",
            "The first item is a[0] and the last is a[1] here.",
        ),
        (
            "See the page at x.org for more about the lamps.",
            "See [the page](https://x.org) for more about lamps.",
        ),
    ],
)
def test_marks_of_the_text_itself_are_text(draft: str, answer: str):
    assert judge(answer, draft=draft) == (RevisionStatus.SUCCEEDED, None)


def test_one_more_tag_than_the_draft_has_is_the_prompts():
    tagged = "Write <response> before all of your words, please do."
    assert "tags" in str(judge(f"<response>{tagged}", draft=tagged).reason)


@pytest.mark.parametrize("draft", ["No.", "It is here."])
@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I'm not able to help with that request.",
        "I’m unable to revise this.",
        "Sorry, I must decline.",
        "Unfortunately, we cannot do this.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Lo siento, no puedo ayudar con eso.",
        "Je suis désolé, je ne peux pas vous aider.",
        "Извините, я не могу помочь с этим.",
        "抱歉，我无法协助完成此请求。",
        "申し訳ありませんが、お手伝いできません。",
    ],
)
def test_a_refusal_of_a_short_draft_is_a_refusal(draft: str, answer: str):
    assert judge(answer, draft=draft).status is RevisionStatus.REFUSED


def test_an_apology_that_answers_is_no_refusal():
    for answer in ("Lo siento, llegará el lunes.", "Leider erst am Montag.", "抱歉，周一到。"):
        assert judge(answer, draft="No.").status is RevisionStatus.SUCCEEDED


@pytest.mark.parametrize("answer", ["No changes needed.", "The response is already correct.", "**No edits**"])
def test_a_comment_on_a_short_draft_is_no_revision_of_it(answer: str):
    assert judge(answer, draft="It is here.").status is RevisionStatus.REJECTED


def test_the_answer_to_a_short_draft_must_share_text_with_it_or_with_the_reference():
    def status(answer: str) -> RevisionStatus:
        return judge_answer("Nein.", answer, "stop", None, reference="Ja, sie kommt am Montag.").status

    assert status("Doch, sie kommt Montag.") is RevisionStatus.SUCCEEDED
    assert status("Dabei helfe ich nicht.") is RevisionStatus.REJECTED


@pytest.mark.parametrize(
    "answer",
    [
        "It will {~~arrives~>arrive~~} on Thursday before noon, so please be at home then.",
        "<思考>few edits</思考>It will arrive on Thursday before noon, so please be at home then.",
        "It will arrive on Thursday before noon, so please be at home then.<<END>>",
    ],
)
def test_tracked_changes_and_tags_in_any_script_are_no_revision(answer: str):
    draft = "It will arrives on Thursday before noon, so please be at home then."
    assert judge_answer(draft, answer, "stop", None).status is RevisionStatus.REJECTED
