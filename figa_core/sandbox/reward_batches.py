"""Graded replies as tensors: their ids, and what the reward model's heads learn from each token.

Shape legend: B replies, T positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from figa_core.sandbox.base_model import padded
from figa_core.sandbox.preferences import Graded
from figa_core.sandbox.texts import mentions, stated_facts
from figa_core.sandbox.tokenizer import encode_prompt, end_of_turn_id

NO_VALUE = -1
"""In `right_BT`, where a token is no value of a slot."""

EncodedReply = tuple[list[int], list[float], list[int], list[bool]]
"""One row of `ids_BT`, `faulty_BT`, `right_BT` and `reply_BT`."""


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """Replies with their prompts. Padding is on the right with id 0, which causal attention never shows."""

    ids_BT: Tensor
    ends_B: Tensor  # the position of the end of turn
    reply_BT: Tensor  # bool: tokens of the reply, without the end of turn
    faulty_BT: Tensor  # 1 for the tokens of a fault
    count_BT: Tensor  # faults begun so far
    right_BT: Tensor  # at a slot value the id of the right one, else negative
    cost_B: Tensor


def collate(tokenizer: PreTrainedTokenizerFast, replies: Sequence[Graded]) -> RewardBatch:
    """Graded replies as tensors."""
    return batch_of(
        [_encoded(tokenizer, reply) for reply in replies], [float(reply.cost) for reply in replies]
    )


def batch_of(replies: Sequence[EncodedReply], costs: Sequence[float]) -> RewardBatch:
    """Encoded replies as tensors, each with the cost of its faults."""
    ids, faulty, right, in_reply = zip(*replies, strict=True)
    faulty_BT = padded(faulty)
    begun_BT = faulty_BT.clone()
    begun_BT[:, 1:] *= 1 - faulty_BT[:, :-1]
    return RewardBatch(
        ids_BT=padded(ids),
        ends_B=torch.tensor([len(row) - 1 for row in ids]),
        reply_BT=padded(in_reply),
        faulty_BT=faulty_BT,
        count_BT=begun_BT.cumsum(1),
        right_BT=padded(right, NO_VALUE),
        cost_B=torch.tensor(costs),
    )


def _encoded(tokenizer: PreTrainedTokenizerFast, reply: Graded) -> EncodedReply:
    """Prompt, reply, end of turn."""
    prompt_ids = encode_prompt(tokenizer, reply.messages)
    facts = stated_facts("\n".join(message.content for message in reply.messages if message.role == "user"))
    encoding = tokenizer.backend_tokenizer.encode(reply.text)
    right_ids = {
        slot: tokenizer.backend_tokenizer.encode(f" {value}").ids[0] for slot, value in facts.items()
    }
    values = {word.end: right_ids[slot] for slot, word in mentions(reply.text) if slot in facts}
    faulty, right = [0.0] * len(prompt_ids), [NO_VALUE] * len(prompt_ids)
    for start, end in encoding.offsets:
        faulty.append(float(any(start < stop and end > first for first, stop in reply.faulty_spans)))
        right.append(values.get(end, NO_VALUE))
    ids = [*prompt_ids, *encoding.ids, end_of_turn_id(tokenizer)]
    in_reply = [False] * len(prompt_ids) + [True] * len(encoding.ids) + [False]
    return ids, [*faulty, 0.0], [*right, NO_VALUE], in_reply
