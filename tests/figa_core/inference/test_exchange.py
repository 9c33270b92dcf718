"""Shards are whole or invisible, and rows are read as they were written."""

from pathlib import Path

import pyarrow as pa
import pytest

from figa_core.inference import exchange
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest
from figa_core.records import FinishReason


def test_generation_requests_come_back_in_order_with_their_seeds(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    requests = [GenerationRequest("b", (7, 8), 2**62), GenerationRequest("a", (9,), 0)]
    exchange.write_requests(path, requests, exchange.GENERATION_REQUESTS)
    columns = exchange.read_shard(path, exchange.GENERATION_REQUESTS)
    assert columns == [["b", "a"], [[7, 8], [9]], [2**62, 0]]


def test_samples_come_back_even_when_they_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    columns = [["a", "b", "c"], [[], [5, 6], []], ["stop", "length", ""], [None, None, "too long"]]
    exchange.write_shard(path, columns, exchange.GENERATIONS)
    assert exchange.read_generations(path) == [
        Generation("a", (), FinishReason.STOP),
        Generation("b", (5, 6), FinishReason.LENGTH),
        RowFailure("c", "too long"),
    ]


def test_texts_and_their_rewards_come_back_to_the_last_bit(tmp_path: Path) -> None:
    requests = [ScoringRequest("a", (1, 2))]
    exchange.write_requests(tmp_path / "texts", requests, exchange.SCORING_REQUESTS)
    assert exchange.read_shard(tmp_path / "texts", exchange.SCORING_REQUESTS) == [["a"], [[1, 2]]]
    columns = [["a", "b", "c"], [0.1, -1 / 3, None], [None, None, "too long"]]
    exchange.write_shard(tmp_path / "scores", columns, exchange.SCORES)
    assert exchange.read_scores(tmp_path / "scores") == [
        ("a", 0.1),
        ("b", -1 / 3),
        RowFailure("c", "too long"),
    ]


def test_a_shard_that_cannot_be_written_whole_is_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    with pytest.raises(pa.ArrowInvalid):
        exchange.write_shard(path, [["a", "b"], [0.1], [None]], exchange.SCORES)
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.parametrize(
    ("rows", "shards"), [([], []), ([1], [[1]]), ([1, 2], [[1, 2]]), ([1, 2, 3], [[1, 2], [3]])]
)
def test_a_stream_is_cut_into_full_shards_and_a_rest(rows: list[int], shards: list[list[int]]) -> None:
    assert list(exchange.in_shards(iter(rows), 2)) == shards


@pytest.mark.parametrize(
    ("rows", "workers", "sizes"),
    [
        (2500, 1, [1000, 1000, 500]),
        (2500, 4, [625, 625, 625, 625]),  # each gets the same
        (500, 4, [200, 200, 100]),  # a worker for fewer would start for nothing
        (150, 4, [150]),
        (5000, 4, [1000] * 5),
        (0, 4, []),
    ],
)
def test_few_rows_are_cut_into_a_shard_for_each_worker(
    tmp_path: Path, rows: int, workers: int, sizes: list[int]
) -> None:
    requests = [GenerationRequest(str(number), (1,), number) for number in range(rows)]
    schema = exchange.GENERATION_REQUESTS
    names = exchange.write_request_shards(tmp_path, iter(requests), 1000, schema, workers=workers)
    shards = [exchange.read_generation_requests(tmp_path / name) for name in names]
    assert [len(shard) for shard in shards] == sizes
    assert [row for shard in shards for row in shard] == requests
