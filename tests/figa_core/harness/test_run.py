"""lm-eval is followed task by task: each result counts when it is there, and one that fails ends no other."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.harness.environment import HarnessPython
from figa_core.harness.request import Request
from figa_core.harness.results import BenchmarkResult
from figa_core.harness.run import TaskFailure, _environment, run_harness
from tests.figa_core.harness.lm_eval_program import asked, lm_eval_results, use_program


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HarnessPython:
    return use_program(tmp_path, monkeypatch)


def request_of(folder: Path, *tasks: str) -> Request:
    return Request(folder / "model", folder / "out", {task: f"key-{task}" for task in tasks})


def run(harness: HarnessPython, folder: Path, *tasks: str) -> tuple[list[BenchmarkResult], list[TaskFailure]]:
    results: list[BenchmarkResult] = []
    failures = run_harness(
        request_of(folder, *tasks),
        harness,
        download=False,
        threads=1,
        log_path=folder / "logs" / "harness.log",
        on_result=results.append,
    )
    return results, failures


def test_a_request_is_read_as_it_was_written(tmp_path: Path) -> None:
    request = replace(
        request_of(tmp_path, "a", "b"),
        include_path=tmp_path / "tasks",
        limit=3,
        template_variables={"enable_thinking": False},
        chat_template=True,
    )
    assert Request.read(request.write()) == request
    assert Request.read(replace(request, include_path=None).write()).include_path is None


def test_results_arrive_and_their_files_are_taken_away(harness: HarnessPython, tmp_path: Path) -> None:
    results, failures = run(harness, tmp_path, "a", "b")
    assert [(found.key, found.task) for found in results] == [("key-a", "a"), ("key-b", "b")]
    assert failures == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["request.json"]


def test_a_task_without_data_is_said_with_what_to_do_and_the_others_go_on(
    harness: HarnessPython, tmp_path: Path
) -> None:
    results, [failure] = run(harness, tmp_path, "fails", "b")
    assert [found.task for found in results] == ["b"]
    assert failure.task == "fails"
    assert "its data cannot be loaded here (DatasetNotFoundError: no data). Fetch it once" in failure.message


@pytest.mark.parametrize(
    ("kind", "words"), [("KeyError", "KeyError: no data."), ("ConnectionError", "cannot be loaded here")]
)
def test_another_failure_is_said_in_its_own_words(
    kind: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, [failure] = run(use_program(tmp_path, monkeypatch, kind=kind), tmp_path, "fails")
    assert words in failure.message


def test_a_worker_that_dies_has_lost_one_task_only(harness: HarnessPython, tmp_path: Path) -> None:
    results: list[BenchmarkResult] = []
    with pytest.raises(EngineError, match=r"(?s)code 7 before it had evaluated dies, c .*model's own") as e:
        run_harness(
            request_of(tmp_path, "a", "fails", "dies", "c"),
            harness,
            download=False,
            threads=1,
            log_path=tmp_path / "harness.log",
            on_result=results.append,
        )
    assert str(tmp_path / "harness.log") in str(e.value)
    assert "fails had failed: its data cannot be loaded" in str(e.value)
    assert [found.task for found in results] == ["a"]


def test_what_a_killed_run_left_is_taken_and_what_is_damaged_is_asked_again(
    harness: HarnessPython, tmp_path: Path
) -> None:
    request = request_of(tmp_path, "a", "b", "c")
    request.write()
    request.result("key-a").write_text(json.dumps({**lm_eval_results("a"), "key": "key-a"}))
    request.result("key-b").write_text("{half a resu")
    results, _ = run(harness, tmp_path, "a", "b", "c")
    assert [found.task for found in results] == ["a", "b", "c"]
    assert asked(harness) == ["model b", "model c"]


def test_if_nothing_lacks_nothing_is_started(harness: HarnessPython, tmp_path: Path) -> None:
    request = request_of(tmp_path, "a")
    request.write()
    request.result("key-a").write_text(json.dumps({**lm_eval_results("a"), "key": "key-a"}))
    assert len(run(harness, tmp_path, "a")[0]) == 1
    assert asked(harness) == []


def test_a_result_that_cannot_be_read_is_a_failure_of_its_task(
    harness: HarnessPython, tmp_path: Path
) -> None:
    results, [failure] = run(harness, tmp_path, "garbage", "b")
    assert [found.task for found in results] == ["b"]
    assert failure.task == "garbage"
    assert "not a whole result of lm-eval" in failure.message


def test_an_interpreter_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    nobody = HarnessPython(tmp_path / "none", "0.4.13", has_vllm=False)
    with pytest.raises(EngineError, match="none: cannot start lm-eval: No such file"):
        run(nobody, tmp_path, "a")


def test_data_are_fetched_only_if_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        assert _environment(False, 1)[name] == "1"
        assert name not in _environment(True, 1)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert _environment(True, 1)["HF_HUB_OFFLINE"] == "1", "what the user has set stays"
