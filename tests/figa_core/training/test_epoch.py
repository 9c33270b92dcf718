"""Over an epoch every pair goes through the model once with each of its answers, whatever is switched on."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from figa_core.config.training import LossConfig
from figa_core.records import WeighedPair
from figa_core.training.attention import use_packed_attention
from figa_core.training.batches import step_pairs, steps_per_epoch
from figa_core.training.data import PairData
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.model import load_model
from figa_core.training.objectives.registry import make_objective
from figa_core.training.prefixes import GRAIN
from figa_core.training.recomputing import use_activation_checkpointing
from tests.figa_core.training.jobs import CPU, PlainEngine, step_of_all_ranks

RANKS, PAIRS_PER_STEP = 2, 5
LAYOUTS: dict[str, dict[str, Any]] = {
    "rows": {"packing": False, "grain": None},
    "packed": {"packing": True, "grain": None},
    "shared": {"packing": True, "grain": GRAIN},
    "shared to the token": {"packing": True, "grain": 1},
}


class Recording(PlainEngine):
    """Counts the sequences of each pair that go through the model."""

    def __init__(self, model: Any, *, sparse_head: bool) -> None:
        super().__init__(model, sparse_head=sparse_head)
        self.seen: Counter[int] = Counter()

    def logits(self, batch: MicroBatch) -> torch.Tensor:
        self.seen.update(batch.pairs)
        return super().logits(batch)


@pytest.fixture(scope="module")
def data(shards_dir: Path) -> PairData:
    return PairData(shards_dir)


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("tail_cut", [True, False], ids=["cut", "whole"])
@pytest.mark.parametrize("sparse_head", [True, False], ids=["sparse", "full"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_pair_is_in_one_step_of_an_epoch_and_in_no_other(
    data: PairData,
    pairs: list[WeighedPair],
    model_dir: Path,
    layout: str,
    sparse_head: bool,
    tail_cut: bool,
    recompute: bool,
) -> None:
    model = load_model(model_dir).train()
    assert not LAYOUTS[layout]["packing"] or use_packed_attention(model)
    assert use_activation_checkpointing(recompute, model, CPU) is recompute
    how = {"tokens_per_batch": 90, "tail_cut": tail_cut, **LAYOUTS[layout]}
    loss = make_objective(LossConfig(objective="figa", negative_nll_max=None))
    of_epoch: Counter[str] = Counter()
    engine = Recording(model, sparse_head=sparse_head)
    for step in range(1, steps_per_epoch(len(data), PAIRS_PER_STEP) + 1):
        chosen = step_pairs(step, pairs=len(data), pairs_per_step=PAIRS_PER_STEP, seed=7)
        engine.seen.clear()
        step_of_all_ranks(engine, data, chosen, loss, RANKS, **how)
        assert engine.seen == dict.fromkeys(chosen, 2), "a revision and a response of each, and of no other"
        of_epoch.update({data.pair_id(pair): count for pair, count in engine.seen.items()})
    assert of_epoch == {pair.pair_id: 2 for pair in pairs}
