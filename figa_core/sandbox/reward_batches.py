"""Graded replies as tensors: ids, and what each token of a reply teaches the reward model.

Shape legend: B replies, T positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from figa_core.sandbox.preferences import Graded
from figa_core.sandbox.texts import mentions, stated_facts
from figa_core.sandbox.tokenizer import encode_prompt, end_of_turn_id

NO_VALUE = -1


@dataclass(frozen=True, slots=True)
class EncodedReply:
    """One scored text: prompt, reply and end of turn, with labels of the same length.

    `faulty`: 1 for the tokens of a fault. `right`: at a slot value the id of the right one, else NO_VALUE.
    """

    ids: list[int]
    faulty: list[float]
    right: list[int]
    begin: int  # where the reply begins


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """Replies padded on the right with id 0, which causal attention never lets a reply see."""

    ids_BT: Tensor
    ends_B: Tensor
    reply_BT: Tensor  # bool: tokens of the reply, without the end of turn
    faulty_BT: Tensor
    count_BT: Tensor  # faults begun so far
    right_BT: Tensor
    cost_B: Tensor


def encode_graded(tokenizer: PreTrainedTokenizerFast, reply: Graded) -> EncodedReply:
    """Tokenize a graded reply and place its labels."""
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
    return EncodedReply(ids, [*faulty, 0.0], [*right, NO_VALUE], len(prompt_ids))


def collate(tokenizer: PreTrainedTokenizerFast, replies: Sequence[Graded]) -> RewardBatch:
    """Encode and pad a batch."""
    rows = [encode_graded(tokenizer, reply) for reply in replies]
    ids_BT, ends_B = padded([row.ids for row in rows])
    faulty_BT = torch.zeros(ids_BT.shape)
    reply_BT = torch.zeros(ids_BT.shape, dtype=torch.bool)
    right_BT = torch.full(ids_BT.shape, NO_VALUE)
    for index, row in enumerate(rows):
        faulty_BT[index, : len(row.ids)] = torch.tensor(row.faulty)
        right_BT[index, : len(row.ids)] = torch.tensor(row.right)
        reply_BT[index, row.begin : len(row.ids) - 1] = True
    begun_BT = faulty_BT.clone()
    begun_BT[:, 1:] *= 1 - faulty_BT[:, :-1]
    costs_B = torch.tensor([float(reply.cost) for reply in replies])
    return RewardBatch(ids_BT, ends_B, reply_BT, faulty_BT, begun_BT.cumsum(1), right_BT, costs_B)


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids (B, T) padded on the right with 0, and the last position of each row (B)."""
    ids_BT = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for index, row in enumerate(rows):
        ids_BT[index, : len(row)] = torch.tensor(row)
    return ids_BT, torch.tensor([len(row) - 1 for row in rows])
