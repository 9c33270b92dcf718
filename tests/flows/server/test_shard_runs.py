"""Starting a run that takes shards: what the server refuses is said in words."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from figa_core.errors import EngineError
from flows.server import shard_runs
from flows.server.names import SHARD_DEPLOYMENTS
from flows.server.shard_runs import PrefectShardRuns

_REQUEST = httpx.Request("POST", "http://server/api/deployments/x/create_flow_run")


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
    error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(shard_runs, "check_version", lambda: None)
    monkeypatch.setattr(shard_runs, "_start", refuse)
    task, deployment = next(iter(SHARD_DEPLOYMENTS.items()))
    expected = rf"{deployment}, run '.*worker 1': .*{words}.*PREFECT_API_URL.*generation\.workers"
    with pytest.raises(EngineError, match=expected):
        PrefectShardRuns(tmp_path / "w", lambda _: None).start(task, tmp_path / "folder", 0)
