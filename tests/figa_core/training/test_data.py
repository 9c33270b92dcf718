"""What of a shard set is refused before a training, naming the pair."""

import dataclasses
from pathlib import Path

import pytest

from figa_core.chat.format import ChatFormat
from figa_core.config.training import LossConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.shards.write import write_shards
from figa_core.training.data import PairData
from figa_core.training.objectives.figa import Figa

FIGA = Figa(LossConfig())


def write_one(directory: Path, pair: WeighedPair, chat: ChatFormat) -> PairData:
    write_shards(
        directory,
        [pair],
        shard_set_id="one",
        tokenizer_hash=chat.tokenizer_hash,
        template_hash=chat.template_hash,
        scheme="levenshtein",
        max_length=64,
        pairs_per_shard=1,
    )
    return PairData(directory)


def test_what_does_not_fit_is_refused_naming_the_pair(
    tmp_path: Path, pairs: list[WeighedPair], chat: ChatFormat
) -> None:
    pair = dataclasses.replace(pairs[1], pair_id="culprit", revision_ids=(999, *pairs[1].revision_ids[1:]))
    data = write_one(tmp_path / "vocabulary", pair, chat)
    with pytest.raises(TrainingError, match="pair culprit has token id 999 in its revision"):
        data.check_vocabulary(300)
    with pytest.raises(TrainingError, match=r"pair culprit has \d+ tokens .* training.tokens_per_batch is 5"):
        data.check_length(FIGA, 5, "training.tokens_per_batch")
    short = dataclasses.replace(pair, response_classes=(0,))
    with pytest.raises(TrainingError, match="pair culprit has 1 classes"):
        write_one(tmp_path / "classes", short, chat)
    with pytest.raises(TrainingError, match="pair culprit has an empty prompt"):
        write_one(tmp_path / "prompt", dataclasses.replace(pair, prompt_ids=()), chat)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(TrainingError, match="pair culprit has a scale that is no positive number"):
            write_one(tmp_path / f"scale {scale}", dataclasses.replace(pair, scale=scale), chat)


def test_the_largest_id_is_one_below_the_size_of_the_vocabulary(
    tmp_path: Path, pairs: list[WeighedPair], chat: ChatFormat
) -> None:
    pair = dataclasses.replace(pairs[1], revision_ids=(999, *pairs[1].revision_ids[1:]))
    data = write_one(tmp_path / "shards", pair, chat)
    data.check_vocabulary(1000)
    with pytest.raises(
        TrainingError, match="token id 999 in its revision, and the model's vocabulary ends at 998"
    ):
        data.check_vocabulary(999)


def test_a_sequence_is_as_long_as_its_prompt_and_its_answer(
    tmp_path: Path, pairs: list[WeighedPair], chat: ChatFormat
) -> None:
    pair = pairs[1]
    data = write_one(tmp_path / "shards", pair, chat)
    longest = len(pair.prompt_ids) + max(len(pair.response_ids), len(pair.revision_ids))
    assert pair.prompt_ids
    data.check_length(FIGA, longest, "the limit")
    with pytest.raises(
        TrainingError, match=rf"has {longest} tokens \(prompt and .*\), the limit is {longest - 1}"
    ):
        data.check_length(FIGA, longest - 1, "the limit")
