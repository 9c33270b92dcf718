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
from flows.server.waiting import may_continue_any, needed_by_waiting_runs, paths_below, runs_of
from tasks.retention import Waiting


def test_paths_are_found_anywhere_in_the_parameters(tmp_path: Path) -> None:
    inside, outside = tmp_path / "shards" / "one", tmp_path.parent / "other"
    parameters = {
        "shards": str(inside),
        "training": {"seed": 1, "lora": [{"model": str(tmp_path / "trainings" / "two" / "model")}]},
        "workspace": str(tmp_path),
        "model": str(outside),
        "note": "shards of one",
        "bad": "/\0",
    }
    found = set(paths_below(tmp_path, parameters))
    training = tmp_path / "trainings" / "two"
    assert found == {inside, training, training / "model"}


def test_a_workspace_behind_a_link_is_known_by_both_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("real", "link"):
        found = set(paths_below(tmp_path / "link", str(tmp_path / name / "shards")))
        assert found == {tmp_path / "link" / "shards"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("runs/assistant/shards/one", "shards/one"),
        ("../elsewhere/trainings/two/model", "trainings/two"),
        ("~/assistant/sweeps/three", "sweeps/three"),
        ("/mnt/of-the-worker/assistant/merged/four", "merged/four"),
        ("~nobody-of-this-name/reward-models/five", "reward-models/five"),
    ],
)
def test_a_path_as_another_machine_has_it_is_known_by_its_end(text: str, found: str, tmp_path: Path) -> None:
    assert set(paths_below(tmp_path, {"shards": text})) == {tmp_path / found}


def test_a_path_below_the_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    named = f"~/{tmp_path.name}"
    assert set(paths_below(tmp_path, f"{named}/data/own")) == {tmp_path / "data" / "own"}
    assert list(runs_of(tmp_path, {"workspace": named})) == [""]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"workspace": "runs/assistant"}, [""]),
        ({"workspace": "./runs/assistant/", "run_id": "run-1"}, ["run-1"]),
        ({"workspace": "../assistant", "run_id": None}, [""]),
        ({"workspace": "runs/other", "run_id": "run-1"}, []),
        ({"workspace": "/somewhere/runs/assistant"}, []),
        ({"config": "none", "workspace": 3}, []),
        ({"workspace": "/\0"}, []),
    ],
)
def test_a_run_that_is_continued_here_is_known(
    parameters: dict[str, object], found: list[str], tmp_path: Path
) -> None:
    assert list(runs_of(tmp_path / "runs" / "assistant", parameters)) == found


@pytest.mark.parametrize(
    ("config", "any_run"),
    [
        ({"workspace": {"path": "runs/assistant"}}, True),
        ({"workspace": {"path": "runs/other"}}, False),
        ({"workspace": {"path": None}}, False),
        ({"workspace": "runs/assistant"}, False),
        ("none", False),
    ],
)
def test_a_run_with_settings_of_this_workspace_may_continue_any_run(
    config: object, any_run: bool, tmp_path: Path
) -> None:
    directory, parameters = tmp_path / "runs" / "assistant", {"config": config}
    assert may_continue_any(directory, parameters) is any_run
    assert list(runs_of(directory, parameters)) == []


def test_without_a_server_nothing_waits(tmp_path: Path) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert needed_by_waiting_runs(tmp_path) == Waiting()


def test_a_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(ConfigError, match=r"127\.0\.0\.1:9.*so nothing is removed"),
    ):
        needed_by_waiting_runs(tmp_path)


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
    assert needed_by_waiting_runs(tmp_path).paths == {tmp_path / "shards" / "waits"}


@flow(name="figa")
def _figa(config: dict[str, object]) -> None: ...


def test_a_run_that_waits_with_settings_of_this_workspace_needs_all_its_runs(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    assert not needed_by_waiting_runs(tmp_path).all_runs
    parameters = {"config": {"workspace": {"path": str(tmp_path)}}}
    client.create_flow_run(_figa, parameters=parameters, state=Scheduled())  # pyright: ignore
    assert needed_by_waiting_runs(tmp_path).all_runs
