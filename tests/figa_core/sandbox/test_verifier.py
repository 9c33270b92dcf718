import pytest

from figa_core.records import Message
from figa_core.sandbox import verifier
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.world import SLOT_FAULTS, FaultKind

MESSAGES = (
    Message("system", "You answer for customer support."),
    Message("user", "I am Anna. My order is a red lamp, marked lost. It should be in Oslo in 4 days."),
)
GOOD = (
    "Dear Anna, thanks. Your red lamp is lost. It will reach Oslo in 4 days. Kind regards, your support team."
)

LOSSES = {
    **dict.fromkeys(SLOT_FAULTS.values(), verifier.SLOT_WEIGHT),
    FaultKind.RUDE: verifier.POLITE_WEIGHT,
    FaultKind.NO_CLOSING: verifier.CLOSING_WEIGHT,
    FaultKind.REPEATED: verifier.NO_REPETITION_WEIGHT,
}


@pytest.mark.parametrize("seed", range(40))
def test_good_replies_of_both_styles_score_one(draw_case, seed):
    case = draw_case(seed)
    assert verify(case.messages, case.good.text) == pytest.approx(1)
    assert verify(case.messages, case.reference.text) == pytest.approx(1)


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("seed", range(10))
def test_each_fault_costs_exactly_its_weight(draw_case, seed, kind):
    case = draw_case(seed, faults=(kind,))
    assert verify(case.messages, case.faulty.text) == pytest.approx(1 - LOSSES[kind])


def test_a_right_value_beside_a_wrong_one_is_not_right():
    text = GOOD.replace("thanks.", "thanks. Your blue lamp is here.")
    assert verify(MESSAGES, text) == pytest.approx(0.9)


def test_a_missing_greeting_and_a_broken_end_cost_their_weights():
    assert verify(MESSAGES, GOOD.replace("Dear ", "")) == pytest.approx(1 - verifier.GREETING_WEIGHT)
    assert verify(MESSAGES, GOOD.removesuffix(".")) == pytest.approx(1 - verifier.FINISHED_WEIGHT)


@pytest.mark.parametrize("text", ["", "   ", "...", "Kind regards.", "Dear customer, fine. Kind regards."])
def test_saying_nothing_earns_nothing(text):
    assert verify(MESSAGES, text) == 0


def test_words_of_the_system_message_are_not_facts():
    messages = (Message("system", "A blue sofa."), MESSAGES[1])
    assert verify(messages, GOOD) == pytest.approx(1)
