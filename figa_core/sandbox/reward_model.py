"""The sandbox's reward model: Bradley–Terry on synthetic preferences.

In every batch, any two replies that differ in cost are a pair, even to different requests, so rewards are
comparable across requests. It learns in two phases, short texts first. Three auxiliary heads, discarded
afterwards, make it read the prompt within a minute of training. They predict the right value at every slot,
whether each token is part of a fault, and how many faults there were so far.

Shape legend: B replies, T positions, M replies × positions that belong to replies, P pairs.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast

from figa_core.records import Message
from figa_core.sandbox.base_model import (
    BUCKET_BATCHES,
    llama_config,
    padded,
    shuffled_batches,
    slot_weights,
)
from figa_core.sandbox.optimizer import Trainer
from figa_core.sandbox.preferences import Preference, preferences, short_replies, single_fault_pairs
from figa_core.sandbox.reward_batches import RewardBatch, collate
from figa_core.sandbox.tokenizer import encode_example
from figa_core.sandbox.world import FaultKind

_READING_LAYER = 2  # after these the reply has been compared with the prompt; the rest adds up
_PAIRS_PER_BATCH = 8
_SHORT_SHARE = 0.4
_FAULTY_TOKEN_WEIGHT = 2.0
# After this share of the steps the base model's worker is done, on two equal cores. It is not an event,
# because the number of threads decides how sums are rounded, and equal seeds give equal models.
_SECOND_CORE_FROM = 0.75
_SCORED_TOGETHER = 64


class AuxiliaryHeads(nn.Module):
    """The heads that exist in training only."""

    def __init__(self, hidden_size: int, slot_weights_V: Tensor) -> None:
        """`slot_weights_V`: the weight of each token in the fault loss."""
        super().__init__()
        self.right_value = nn.Linear(hidden_size, len(slot_weights_V), bias=False)
        self.fault = nn.Linear(hidden_size, 1)
        self.count = nn.Linear(hidden_size, 1)
        self.slot_weights_V = slot_weights_V

    def loss(self, batch: RewardBatch, read_BTH: Tensor, last_BTH: Tensor) -> Tensor:
        """Sum of the three means over the tokens of the replies."""
        reply_BT = batch.reply_BT
        faulty_M = batch.faulty_BT[reply_BT]
        weights_M = self.slot_weights_V[batch.ids_BT[reply_BT]]
        weight = torch.tensor(_FAULTY_TOKEN_WEIGHT)
        fault_M = functional.binary_cross_entropy_with_logits(
            self.fault(read_BTH[reply_BT])[:, 0], faulty_M, reduction="none", pos_weight=weight
        )
        count = functional.smooth_l1_loss(self.count(last_BTH[reply_BT])[:, 0], batch.count_BT[reply_BT])
        total = (fault_M * weights_M).sum() / weights_M.sum() + count
        valued_BT = batch.right_BT >= 0
        if not valued_BT.any():
            return total
        right = functional.cross_entropy(self.right_value(read_BTH[valued_BT]), batch.right_BT[valued_BT])
        return total + right


def train_reward_model(
    tokenizer: PreTrainedTokenizerFast, *, steps: int, seed: int, on_progress: Callable[[int, int], None]
) -> LlamaForSequenceClassification:
    """Train the reward model from scratch; `on_progress` gets (steps done, steps in all)."""
    torch.manual_seed(seed)
    config = llama_config(tokenizer, layers=3, num_labels=1, initializer_range=0.06)
    model = LlamaForSequenceClassification(config)
    heads = AuxiliaryHeads(config.hidden_size, slot_weights(tokenizer))
    trainer = Trainer(model, heads.parameters(), steps=steps)
    rng = random.Random(f"reward/{seed}")
    short, whole = _short_batches(tokenizer, rng), _whole_batches(tokenizer, rng)
    for step in range(steps):
        torch.set_num_threads(1 if trainer.progress < _SECOND_CORE_FROM else 2)
        batch = next(short if trainer.progress < _SHORT_SHARE else whole)
        trainer.step(preference_loss(model, heads, batch))
        on_progress(step + 1, steps)
    return model.eval()


def held_out_accuracies(
    model: LlamaForSequenceClassification, tokenizer: PreTrainedTokenizerFast, *, n: int, seed: int
) -> dict[str, float]:
    """Shares of new pairs whose better reply gets the higher reward.

    Of `n` pairs, and for each kind of fault of n/6 pairs of a good reply and one with that fault.
    """
    rng = random.Random(f"reward-judged/{seed}")
    judged = {"reward_accuracy": list(islice(preferences(rng), n))}
    for kind in FaultKind:
        pairs = islice(single_fault_pairs(rng, kind), max(2, n // 6))
        judged[f"reward_accuracy_{kind}"] = list(pairs)
    figures = {}
    for name, pairs in judged.items():
        better = rewards(model, tokenizer, [(better.messages, better.text) for better, _ in pairs])
        worse = rewards(model, tokenizer, [(worse.messages, worse.text) for _, worse in pairs])
        figures[name] = sum(map(float.__gt__, better, worse)) / len(pairs)
    return figures


@torch.inference_mode()
def rewards(
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[tuple[Sequence[Message], str]],
) -> list[float]:
    """Raw logits of the texts (messages, reply), in their order."""
    encoded = (encode_example(tokenizer, messages, text) for messages, text in texts)
    rows = [[*prompt_ids, *reply_ids] for prompt_ids, reply_ids in encoded]
    scores: list[float] = []
    for first in range(0, len(rows), _SCORED_TOGETHER):
        together = rows[first : first + _SCORED_TOGETHER]
        ids_BT, ends_B = padded(together), torch.tensor([len(row) - 1 for row in together])
        hidden_BTH = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
        scores += model.score(hidden_BTH[torch.arange(len(ids_BT)), ends_B])[:, 0].tolist()
    return scores


def _short_batches(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Iterator[RewardBatch]:
    replies = short_replies(rng)
    while True:
        yield collate(tokenizer, list(islice(replies, 2 * _PAIRS_PER_BATCH)))


def _whole_batches(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Iterator[RewardBatch]:
    """Pairs of similar length, a bucket at a time."""
    pairs = preferences(rng)
    while True:
        drawn = list(islice(pairs, _PAIRS_PER_BATCH * BUCKET_BATCHES))
        for batch in shuffled_batches(drawn, _PAIRS_PER_BATCH, _length, rng):
            yield collate(tokenizer, [reply for pair in batch for reply in pair])


def _length(pair: Preference) -> int:
    return max(len(reply.text) for reply in pair)


def preference_loss(
    model: LlamaForSequenceClassification, heads: AuxiliaryHeads, batch: RewardBatch
) -> Tensor:
    """Mean of −log σ(better − worse) over the batch's pairs, plus the auxiliary losses."""
    out = model.model(input_ids=batch.ids_BT, use_cache=False, output_hidden_states=True)
    last_BTH = out.last_hidden_state
    scores_B = model.score(last_BTH[torch.arange(len(batch.ids_BT)), batch.ends_B])[:, 0]
    differences_BB = scores_B[:, None] - scores_B[None, :]
    differences_P = differences_BB[batch.cost_B[:, None] < batch.cost_B[None, :]]
    auxiliary = heads.loss(batch, out.hidden_states[_READING_LAYER], last_BTH)
    if not len(differences_P):
        return auxiliary
    return auxiliary - functional.logsigmoid(differences_P).mean()
