"""What runs on a Prefect server that have not ended name in a workspace."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Scheduled

from figa_core.errors import ConfigError
from flows.server.waiting import named_by_waiting_runs, paths_below


def test_paths_are_found_anywhere_in_the_parameters(tmp_path: Path) -> None:
    inside, outside = tmp_path / "shards" / "one", tmp_path.parent / "other"
    parameters = {
        "shards": str(inside),
        "training": {"seed": 1, "lora": [{"model": str(tmp_path / "trainings" / "two" / "model")}]},
        "workspace": str(tmp_path),
        "model": str(outside),
        "note": "shards/one",
        "bad": "/\0",
    }
    found = set(paths_below(tmp_path, parameters))
    assert found == {inside, tmp_path / "trainings" / "two" / "model"}


def test_a_workspace_behind_a_link_is_known_by_both_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("real", "link"):
        found = set(paths_below(tmp_path / "link", str(tmp_path / name / "shards")))
        assert found == {tmp_path / "link" / "shards"}


def test_without_a_server_nothing_waits(tmp_path: Path) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert named_by_waiting_runs(tmp_path) == set()


def test_a_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ConfigError, match=r"127\.0\.0\.1:9.*so nothing is removed"),
    ):
        named_by_waiting_runs(tmp_path)


@flow(name="train-model")
def _train_model(shards: str) -> None: ...


@flow(name="somebody-elses")
def _other(shards: str) -> None: ...


@pytest.fixture
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def test_a_training_that_waits_is_known_and_one_that_has_ended_is_not(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    def run(name: str, of: object = _train_model) -> UUID:
        parameters = {"shards": str(tmp_path / "shards" / name)}
        return client.create_flow_run(of, parameters=parameters, state=Scheduled()).id  # pyright: ignore

    run("waits")
    run("another flow's", _other)
    client.set_flow_run_state(run("done"), Completed(), force=True)
    assert named_by_waiting_runs(tmp_path) == {tmp_path / "shards" / "waits"}
