"""A training refuses pairs that do not fit, and names them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from figa_core.config.training import LossConfig
from figa_core.errors import TrainingError
from figa_core.records import WeighedPair
from figa_core.training.data import PairData
from figa_core.training.objectives.coh import Coh
from figa_core.training.objectives.figa import Figa
from tests.figa_core.training.jobs import write_set

FIGA = Figa(LossConfig())


def data_of(directory: Path, pair: WeighedPair) -> PairData:
    write_set(directory, [pair])
    return PairData(directory)


def test_an_error_about_a_pair_names_it(tmp_path: Path, pairs: list[WeighedPair]) -> None:
    pair = dataclasses.replace(pairs[1], pair_id="culprit", revision_ids=(999, *pairs[1].revision_ids[1:]))
    data = data_of(tmp_path / "vocabulary", pair)
    with pytest.raises(TrainingError, match="pair culprit has token id 999 in its revision"):
        data.check_vocabulary(300)
    with pytest.raises(TrainingError, match=r"pair culprit has \d+ tokens .* training.tokens_per_batch is 5"):
        data.check_length(FIGA, 5, "training.tokens_per_batch")
    short = dataclasses.replace(pair, response_classes=(0,))
    with pytest.raises(TrainingError, match="pair culprit has more or fewer classes than response tokens"):
        data_of(tmp_path / "classes", short)
    with pytest.raises(TrainingError, match="pair culprit has an empty prompt"):
        data_of(tmp_path / "prompt", dataclasses.replace(pair, prompt_ids=()))
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(TrainingError, match="pair culprit has a scale that is not a positive number"):
            data_of(tmp_path / f"scale {scale}", dataclasses.replace(pair, scale=scale))
    tokens = len(pair.revision_ids)
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        graded = dataclasses.replace(pair, revision_factors=(factor, *(1.0,) * (tokens - 1)))
        with pytest.raises(TrainingError, match="pair culprit has a factor that is not a positive number"):
            data_of(tmp_path / f"factor {factor}", graded)
    with pytest.raises(TrainingError, match="pair culprit has more or fewer factors than revision tokens"):
        data_of(tmp_path / "factors", dataclasses.replace(pair, revision_factors=(1.0,)))


def test_the_largest_id_is_one_below_the_size_of_the_vocabulary(
    tmp_path: Path, pairs: list[WeighedPair]
) -> None:
    pair = dataclasses.replace(pairs[1], revision_ids=(999, *pairs[1].revision_ids[1:]))
    data = data_of(tmp_path / "shards", pair)
    data.check_vocabulary(1000)
    with pytest.raises(
        TrainingError, match="token id 999 in its revision, and the model's vocabulary ends at 998"
    ):
        data.check_vocabulary(999)


def test_a_sequence_is_as_long_as_its_prompt_and_its_answer(tmp_path: Path, pairs: list[WeighedPair]) -> None:
    pair = pairs[1]
    data = data_of(tmp_path / "shards", pair)
    longest = len(pair.prompt_ids) + max(len(pair.response_ids), len(pair.revision_ids))
    assert pair.prompt_ids
    data.check_length(FIGA, longest, "the limit")
    with pytest.raises(
        TrainingError, match=rf"has {longest} tokens \(prompt and .*\), the limit is {longest - 1}"
    ):
        data.check_length(FIGA, longest - 1, "the limit")


def test_drawn_pairs_are_those_of_the_set_at_these_places(tmp_path: Path, pairs: list[WeighedPair]) -> None:
    write_set(tmp_path / "set", pairs, pairs_per_shard=2)
    whole = PairData(tmp_path / "set")
    drawn = PairData(tmp_path / "set", drawn=np.array([1, 3]))
    assert [drawn.pair_id(index) for index in range(len(drawn))] == [whole.pair_id(1), whole.pair_id(3)]
    for place, index in enumerate((1, 3)):
        for ours, theirs in zip(
            drawn.sequences(place, FIGA, tail_cut=False),
            whole.sequences(index, FIGA, tail_cut=False),
            strict=True,
        ):
            np.testing.assert_array_equal(ours.inputs_T, theirs.inputs_T)
            np.testing.assert_array_equal(ours.targets_K, theirs.targets_K)


def test_a_chain_is_as_long_as_its_prompt_its_words_and_all_its_answers(
    tmp_path: Path, pairs: list[WeighedPair]
) -> None:
    pair, coh = pairs[1], Coh(LossConfig(objective="coh"))
    write_set(tmp_path, [pair])
    data = PairData(tmp_path, word_ids=dict(zip(coh.words(), ((5, 6, 7), (8, 9)), strict=True)))
    longest = len(pair.prompt_ids) + 3 + len(pair.revision_ids) + 2 + len(pair.response_ids)
    data.check_length(coh, longest, "the limit")
    words = rf"has {longest} tokens \(prompt and response and revision\), the limit is {longest - 1}"
    with pytest.raises(TrainingError, match=words):
        data.check_length(coh, longest - 1, "the limit")
    assert max(len(s.inputs_T) for s in data.sequences(0, coh, tail_cut=True)) == longest - 1
    assert Coh.tokens_at_once(10) == 20 + len("A helpful answer:\nAn unhelpful answer:\n")
