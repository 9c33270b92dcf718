"""The teacher's scores of whole replies."""

from figa_core.judging.judge import JudgeSettings
from figa_core.judging.prompt import load_template
from figa_core.judging.reader import read_score
from figa_core.ports import RewardRequest
from figa_core.records import Message
from figa_core.sandbox.teacher_rules import answer
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.vocabulary import SLOT_OF_WORD

FACT, *_ = SLOT_OF_WORD


def test_the_teacher_gives_a_better_reply_a_higher_score_by_the_verifier() -> None:
    messages = (Message("user", f"Where is my {FACT}? Ann"),)
    settings = JudgeSettings("m", load_template(), highest_score=5)
    scores = {}
    for text in (f"Dear Ann, it is {FACT}.", "no"):
        asked = settings.render(RewardRequest("id", messages, text, {}))[-1]["content"]
        scores[text] = read_score(answer(asked), 5)
        assert abs(scores[text] - (1 + 4 * verify(messages, text))) < 0.01
    better, worse = scores.values()
    assert 5 >= better > worse >= 1
