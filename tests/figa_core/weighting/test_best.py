"""The ids of a prompt's best sample, under the rules of the other answers."""

from dataclasses import replace

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.records import AdmittedPair, FinishReason, Message, WeighedPair
from figa_core.weighting.best import with_best_samples
from figa_core.weighting.schemes import levenshtein
from figa_core.weighting.weigh import SkippedPair, weigh_pairs
from tests.figa_core.weighting.test_weigh import bytes_format

MAX_LENGTH = 10


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return bytes_format("<e>")


def pair(name: str, best_text: str | None, finish: FinishReason | None = FinishReason.STOP) -> AdmittedPair:
    return AdmittedPair(
        pair_id=name,
        messages=(Message("user", "hi"),),
        response_text="ab",
        response_finish=FinishReason.STOP,
        response_token_ids=(),
        revision_text="ab" if name == "same" else "ax",
        reference_text=None,
        response_reward=0.0,
        revision_reward=1.0,
        best_text=best_text,
        best_finish=finish,
    )


def test_a_best_sample_has_its_end_of_turn_unless_it_was_cut(chat: ChatFormat) -> None:
    pairs = [
        pair("whole", "best"),
        pair("same", "best"),
        pair("cut", "best", FinishReason.LENGTH),
        pair("long", "a long answer"),
        pair("just fits", "123456"),
        pair("none", None, None),
    ]
    weighed = list(weigh_pairs(chat, pairs, scheme=levenshtein, max_length=MAX_LENGTH))
    found = list(with_best_samples(chat, pairs, weighed, max_length=MAX_LENGTH))
    expected = {
        "whole": chat.response_ids("best") + chat.end_of_turn_ids,
        "cut": chat.response_ids("best"),
        "long": chat.response_ids("a long "),
        "just fits": chat.response_ids("123456") + chat.end_of_turn_ids,
        "none": (),
    }
    assert {one.pair_id: one.best_ids for one in found if isinstance(one, WeighedPair)} == expected
    others = [replace(one, best_ids=None) if isinstance(one, WeighedPair) else one for one in found]
    assert others == weighed
    assert isinstance(found[1], SkippedPair)
