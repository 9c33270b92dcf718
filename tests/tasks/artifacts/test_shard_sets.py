"""Shard sets: sent by the machine that has them, fetched by those that train on them."""

from pathlib import Path

import pytest

from figa_core.errors import ArtifactsError
from figa_core.files import whole_files
from figa_core.shards.manifest import read_manifest
from tests.tasks.artifacts.machines import Machine
from tests.tasks.shard_sets import write_set


def _shards(machine: Machine) -> Path:
    return write_set(machine.workspace.shards("set"), pairs=5, pairs_per_shard=2)


def test_a_shard_set_arrives_as_it_was(owner: Machine, worker: Machine) -> None:
    sent = _shards(owner)
    owner.artifacts.send_shards(sent)
    arrived = worker.workspace.shards("set")
    worker.artifacts.fetch_shards(arrived)
    assert read_manifest(arrived) == read_manifest(sent)
    assert whole_files(arrived) == whole_files(sent)
    assert owner.store.sent[-1] == "shards/set/manifest.json"
    assert worker.store.fetched[-1] == "shards/set/manifest.json"


def test_a_shard_set_that_is_there_is_neither_sent_nor_fetched_again(owner: Machine, worker: Machine) -> None:
    for _ in range(2):
        owner.artifacts.send_shards(_shards(owner))
        worker.artifacts.fetch_shards(worker.workspace.shards("set"))
    assert owner.store.sent.count("shards/set/manifest.json") == 1
    assert worker.store.fetched.count("shards/set/manifest.json") == 1


def test_a_shard_set_that_was_sent_in_part_is_sent_again(owner: Machine, worker: Machine) -> None:
    shards = _shards(owner)
    owner.store.send(shards / "pairs-00000.parquet", "shards/set/pairs-00000.parquet")
    with pytest.raises(ArtifactsError, match="there is no complete shard set shards/set"):
        worker.artifacts.fetch_shards(worker.workspace.shards("set"))
    owner.artifacts.send_shards(shards)
    worker.artifacts.fetch_shards(worker.workspace.shards("set"))


def test_another_set_under_the_same_path_is_replaced(owner: Machine, worker: Machine) -> None:
    here = write_set(worker.workspace.shards("set"), pairs=3, pairs_per_shard=2)
    owner.artifacts.send_shards(_shards(owner))
    worker.artifacts.fetch_shards(here)
    assert read_manifest(here) == read_manifest(owner.workspace.shards("set"))


def test_a_machine_that_shares_the_disk_fetches_nothing(owner: Machine) -> None:
    shards = _shards(owner)
    owner.artifacts.send_shards(shards)
    owner.artifacts.fetch_shards(shards)
    assert owner.store.fetched == []


def test_a_half_set_in_the_store_does_not_touch_a_complete_one_here(owner: Machine) -> None:
    shards = _shards(owner)
    owner.store.write("shards/set/pairs-00000.parquet", b"half")
    owner.artifacts.fetch_shards(shards)
    assert owner.store.fetched == []
