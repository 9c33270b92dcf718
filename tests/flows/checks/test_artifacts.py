"""The store of `[storage] artifacts`."""

from pathlib import Path

import pytest

from figa_core.errors import ConfigError
from flows.checks.artifacts import check_store

from .conftest import MakeFacts


def test_a_store_that_can_be_used_is_no_problem(facts: MakeFacts, tmp_path: Path) -> None:
    assert list(check_store(facts(storage={"artifacts": f"file://{tmp_path}/store"}))) == []


def test_without_a_store_nothing_is_looked_for(facts: MakeFacts) -> None:
    assert list(check_store(facts(training={"nodes": 2}))) == []


def test_a_store_that_cannot_be_written_is_said(facts: MakeFacts, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [found] = check_store(facts(storage={"artifacts": f"file://{tmp_path}/file"}))
    assert found.is_problem
    assert str(found).startswith(f"storage.artifacts: file://{tmp_path}/file: cannot write probe-")


def test_several_machines_for_one_training_need_a_disk(facts: MakeFacts, tmp_path: Path) -> None:
    [found] = check_store(facts(storage={"artifacts": f"file://{tmp_path}"}, training={"nodes": 2}))
    assert "the machines of one training meet on a disk that they share" in str(found)


def test_a_kind_of_url_that_nobody_knows_is_refused(facts: MakeFacts) -> None:
    with pytest.raises(ConfigError, match="does not know this kind of URL"):
        list(check_store(facts(storage={"artifacts": "teapot://shelf/1"})))
