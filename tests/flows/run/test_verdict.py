"""A flow whose model is worse than its base ends as Failed, with the verdict as its message."""

import subprocess
import sys

import pytest

from figa_core.errors import WorseModelError
from figa_core.processes.children import child_environment
from flows.run.verdict import require_not_worse
from flows.server.names import API_URL_VARIABLE
from flows.server.process import PrefectServer
from tests.flows.conftest import find
from tests.flows.run.judged_run import BASE, DATA, NAME, WORSE


def test_only_a_worse_model_is_an_error_and_it_carries_the_result() -> None:
    require_not_worse(DATA, BASE, "result")
    require_not_worse(DATA, None, "result")
    with pytest.raises(WorseModelError, match=r"FIGA \(/w/model\).* a Retry repeats nothing") as found:
        require_not_worse(DATA, WORSE, "result")
    assert found.value.result == "result"


def test_the_flow_run_is_failed_with_the_verdict_and_its_caller_gets_the_error(
    prefect_server: PrefectServer,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.run.judged_run"],
        env=child_environment(**{API_URL_VARIABLE: prefect_server.api_url}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith("caught all is stored")
    assert "Traceback" not in done.stderr
    [run] = find(prefect_server, "flow_runs", flows={"name": {"any_": [NAME]}})
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Failed")
    assert run["state"]["message"].startswith(
        "Verdict: worse: do not use FIGA (/w/model). It is worse than its"
    )
