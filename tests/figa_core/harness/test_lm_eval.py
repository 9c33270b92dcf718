"""lm-eval itself on the sandbox's model and tasks; skipped where `make harness` has not installed it."""

import json
import os
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from figa_core.domains.human_eval import METRIC, TASK, write_task
from figa_core.errors import EngineError
from figa_core.harness.environment import HarnessPython, find_harness
from figa_core.harness.request import TRANSFORMERS, VLLM, Request
from figa_core.harness.results import BenchmarkResult, BenchmarkScore
from figa_core.harness.run import TaskFailure, run_harness
from figa_core.harness.survey import look_up
from figa_core.processes.children import child_environment
from figa_core.sandbox.benchmark import CHOICES, GROUP, WRITTEN, write_tasks
from figa_core.sandbox.build import Sandbox
from tests.figa_core.domains.test_human_eval import PROBLEM

pytestmark = [pytest.mark.harness, pytest.mark.slow, pytest.mark.timeout(600)]

QUESTIONS = 24
PRESET = Path(__file__).parents[3] / "deployments" / "presets" / "benchmarks.toml"
SEVEN = tuple(tomllib.loads(PRESET.read_text(encoding="utf-8"))["evaluation"]["harness"]["tasks"])
SILENT = ("drop", "mmlu_generative", "squadv2")  # a task, a group of groups of tags, and one in Python
# What a user of lm-eval would write.
BARE = """
import json, os, sys
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
model, folder, tasks = sys.argv[1], sys.argv[2], sys.argv[3:]
os.chdir(folder)
found = simple_evaluate("hf", dict(pretrained=model, dtype="float32"), tasks=tasks, batch_size=16,
                        device="cpu", apply_chat_template=True,
                        task_manager=TaskManager(include_path=folder))
print()
print(json.dumps(found["results"]))
"""


@pytest.fixture(scope="module")
def harness() -> HarnessPython:
    try:
        return find_harness()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(folder, QUESTIONS)
    (folder / "lacking.yaml").write_text(
        "task: lacking\ndataset_path: nobody/has-this\ntest_split: test\noutput_type: generate_until\n"
        'doc_to_text: "{{question}}"\ndoc_to_target: ""\nmetric_list:\n  - metric: exact_match\n'
    )
    return folder


def request_of(sandbox: Sandbox, folder: Path, output: Path, *tasks: str, engine: str) -> Request:
    return Request(
        sandbox.base_model,
        output,
        {task: f"key-{task}" for task in tasks},
        engine=engine,
        dtype="float32",
        include_path=folder,
        chat_template=True,
        gpu_memory_share=0.2,
    )


def run(request: Request, harness: HarnessPython) -> tuple[dict[str, BenchmarkResult], list[TaskFailure]]:
    results: dict[str, BenchmarkResult] = {}
    failures = run_harness(
        request,
        harness,
        download=False,
        threads=1,
        log_path=request.output / "harness.log",
        on_result=lambda found: results.update({found.task: found}),
    )
    return results, failures


def shown(results: dict[str, BenchmarkResult]) -> dict[str, BenchmarkScore]:
    scores = (score for result in results.values() for score in result.scores)
    return {score.task: score for score in scores if not score.is_part and score.metric != "acc_norm"}


def test_scores_and_errors_are_lm_evals_own_and_a_task_without_data_ends_no_other(
    harness: HarnessPython, folder: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    request = request_of(sandbox, folder, tmp_path / "out", GROUP, "lacking", WRITTEN, engine=TRANSFORMERS)
    results, [failure] = run(request, harness)
    bare = subprocess.run(
        [harness.python, "-c", BARE, sandbox.base_model, folder, GROUP, WRITTEN],
        capture_output=True,
        check=True,
        env=child_environment(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1"),
    )
    theirs = json.loads(bare.stdout.decode().splitlines()[-1])
    scores = shown(results)
    assert set(scores) == {GROUP, WRITTEN}
    for task, metric, n in ((GROUP, "acc", 2 * QUESTIONS), (WRITTEN, "verifier", QUESTIONS)):
        ours = scores[task]
        assert (ours.metric, ours.n, ours.available, len(ours.values)) == (metric, n, n, n)
        assert ours.value == theirs[task][f"{metric},none"]
        assert ours.standard_error == theirs[task][f"{metric}_stderr,none"]
    parts = {score.task for score in results[GROUP].scores if score.is_part}
    assert parts == set(CHOICES)
    assert failure.task == "lacking"
    assert "its data cannot be loaded here" in failure.message
    assert results[GROUP].versions["lm_eval"] == harness.release


def test_a_limit_and_examples_are_what_is_asked_for(
    harness: HarnessPython, folder: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    request = request_of(sandbox, folder, tmp_path / "out", WRITTEN, engine=TRANSFORMERS)
    results, failures = run(replace(request, limit=5, chat_template=False, seed=3), harness)
    assert failures == []
    [score] = results[WRITTEN].scores
    assert (score.n, score.available, len(score.values)) == (5, QUESTIONS, 5)


def test_a_killed_worker_is_asked_for_the_rest_only(
    harness: HarnessPython, folder: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    request = request_of(sandbox, folder, tmp_path / "out", GROUP, WRITTEN, engine=TRANSFORMERS)
    arrived: list[str] = []

    def kill(found: BenchmarkResult) -> None:
        arrived.append(found.task)
        for child in psutil.Process(os.getpid()).children(recursive=True):
            if "figa_core.harness.worker" in " ".join(child.cmdline()):
                child.kill()

    log = tmp_path / "harness.log"
    more = {"download": False, "threads": 1, "log_path": log}
    with pytest.raises(EngineError, match=f"code -9 before it had evaluated {WRITTEN}"):
        run_harness(request, harness, **more, on_result=kill)
    assert arrived == [GROUP]
    rest = replace(request, tasks={WRITTEN: request.tasks[WRITTEN]})
    run_harness(rest, harness, **more, on_result=lambda found: arrived.append(found.task))
    assert arrived == [GROUP, WRITTEN]


def test_human_eval_is_judged_by_its_tests_which_run_confined(
    harness: HarnessPython, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "tasks"
    write_task(folder, [PROBLEM, replace(PROBLEM, task_id="made/1")], max_tokens=32)
    request = request_of(sandbox, folder, tmp_path / "out", TASK, engine=TRANSFORMERS)
    results, failures = run(request, harness)
    assert failures == []
    [score] = results[TASK].scores
    assert (score.metric, score.n, score.values) == (METRIC, 2, (0.0, 0.0))  # the model writes replies


@pytest.mark.vllm
def test_vllm_chooses_and_writes_as_transformers_does(
    harness: HarnessPython, folder: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    if not harness.has_vllm:
        pytest.skip("vLLM has no build for this platform")
    found = [
        shown(run(request_of(sandbox, folder, tmp_path / e, GROUP, WRITTEN, engine=e), harness)[0])
        for e in (VLLM, TRANSFORMERS)
    ]
    by_vllm, by_transformers = found
    one_question = 1 / (2 * QUESTIONS) + 1e-9
    assert abs(by_vllm[GROUP].value - by_transformers[GROUP].value) <= one_question
    for task in (GROUP, WRITTEN):
        assert by_vllm[task].questions == by_transformers[task].questions
    # The task does not say whether the model samples (figa_core/README.md, "Benchmarks").
    assert by_vllm[WRITTEN].values == by_transformers[WRITTEN].values


def test_lm_eval_has_the_seven_benchmarks_and_says_what_it_lacks(
    harness: HarnessPython, folder: Path
) -> None:
    found = look_up(harness, (*SEVEN, *SILENT, GROUP, WRITTEN, "mmul"), folder)
    assert found.known == {*SEVEN, *SILENT, GROUP, WRITTEN}
    assert found.silent == {*SILENT, WRITTEN}
    assert found.own == {GROUP, WRITTEN}
    assert "mmlu" in found.close["mmul"]
