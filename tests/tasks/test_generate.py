"""What the generate stage makes of generated ids."""

from figa_core.ports import Generation
from figa_core.records import FinishReason
from tasks.generate import _responses
from tests.figa_core.templates.styles import chat_format


def test_what_stands_before_the_stop_is_no_part_of_the_answer_unless_it_was_cut() -> None:
    """Llama 2 ends its turn with a space and ``</s>``; the engine leaves out the stop token alone."""
    chat = chat_format("llama-2")
    lead = chat.end_of_turn_ids[:-1]
    assert lead
    answer = chat.response_ids("on its way.")
    ended, cut = _responses(
        chat,
        [
            Generation("prompt#0", answer + lead, FinishReason.STOP),
            Generation("prompt#1", answer + lead, FinishReason.LENGTH),
        ],
        "generator",
    )
    assert (ended.text, ended.token_ids) == ("on its way.", answer)
    assert cut.token_ids == answer + lead
