"""Starting a run on the pool that works for another: what the server refuses is said in words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from figa_core.errors import ConfigError, EngineError
from flows.server import pool_runs
from flows.server.names import SERVE_MODEL, SHARD_DEPLOYMENTS
from flows.server.serving_runs import PrefectServingRuns
from flows.server.shard_runs import PrefectShardRuns

_REQUEST = httpx.Request("POST", "http://server/api/deployments/x/create_flow_run")
_TASK, _DEPLOYMENT = next(iter(SHARD_DEPLOYMENTS.items()))


def _deal(workspace: Path) -> None:
    PrefectShardRuns(workspace, lambda _: None).start(_TASK, workspace / "folder", 0)


def _serve(workspace: Path) -> None:
    PrefectServingRuns(workspace, lambda _: None).start(workspace / "folder")


STARTS = [
    (_deal, _DEPLOYMENT, "w: generate, worker 1", 'generation.workers = "none"'),
    (_serve, SERVE_MODEL, "w: serve a model", "generation.serving.pool = false"),
]


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    def set_to(error: Exception) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(pool_runs, "check_version", lambda: None)
        monkeypatch.setattr(pool_runs, "_start", refuse)

    return set_to


@pytest.mark.parametrize(("start", "deployment", "name", "off"), STARTS)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PrefectHTTPStatusError("Server error '500'", request=_REQUEST, response=httpx.Response(500)),
            r"Server error '500'",
        ),
        (
            httpx.ConnectError("All connection attempts failed"),
            "ConnectError: All connection attempts failed",
        ),
    ],
)
def test_a_server_that_does_not_start_the_run_is_named_with_what_to_do(
    error: Exception,
    words: str,
    start: Callable[[Path], None],
    deployment: str,
    name: str,
    off: str,
    tmp_path: Path,
    refusing: Callable[[Exception], None],
) -> None:
    refusing(error)
    with pytest.raises(EngineError, match=rf"{deployment}, run '{name}': .*{words}.*PREFECT_API_URL.*{off}"):
        start(tmp_path / "w")


@pytest.mark.parametrize(("start", "deployment", "_name", "off"), STARTS)
def test_a_deployment_that_is_missing_is_named_with_the_command_that_makes_it(
    start: Callable[[Path], None],
    deployment: str,
    _name: str,
    off: str,
    tmp_path: Path,
    refusing: Callable[[Exception], None],
) -> None:
    refusing(ObjectNotFound(http_exc=Exception()))
    with pytest.raises(ConfigError, match=rf"'{deployment}'.*python -m deployments\.deploy.*or set {off}"):
        start(tmp_path / "w")
