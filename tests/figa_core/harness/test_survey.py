"""lm-eval is asked which tasks it has, once for the same question."""

from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.harness.environment import HarnessPython
from figa_core.harness.folder import tasks_hash
from figa_core.harness.survey import CACHE, close_names, is_silent, look_up, members
from tests.figa_core.harness.lm_eval_program import use_program


def surveys(harness: HarnessPython) -> int:
    return len((harness.python.parent / "surveys").read_text())


def test_names_are_known_or_have_others_like_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = use_program(tmp_path, monkeypatch, unknown=("gsm9k", ""))
    found = look_up(harness, ("own_task", "gsm9k", "mmlu"), None)
    assert found.known == {"own_task", "mmlu"}
    assert found.own == {"own_task"}
    assert found.close == {"gsm9k": ("one_like_it",)}


def test_tasks_that_do_not_say_whether_they_sample_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = use_program(tmp_path, monkeypatch)
    assert look_up(harness, ("silent_task", "mmlu"), None).silent == {"silent_task"}


@pytest.mark.parametrize(
    ("said", "silent"),
    [
        ({"until": ["\n"], "max_gen_toks": 9}, True),
        ({"do_sample": None}, True),
        ({"do_sample": False}, False),
        ({"do_sample": True, "temperature": 0.7}, False),
        ({"temperature": 0.0}, False),
        (None, False),
    ],
)
def test_a_task_in_which_the_model_writes_is_silent_if_it_says_neither_sampling_nor_temperature(
    said: dict[str, object] | None, silent: bool
) -> None:
    assert is_silent({"output_type": "generate_until", "generation_kwargs": said}) is silent
    assert not is_silent({"output_type": "multiple_choice", "generation_kwargs": said})


def test_a_task_in_python_may_be_silent() -> None:
    assert is_silent({"task": "own", "class": "!function task.Own"})


def test_the_members_of_a_group_are_found_in_groups_within_it() -> None:
    inner = {"group": "stem", "task": ["physics", {"task": "chemistry", "num_fewshot": 2}]}
    assert set(members(["history", inner])) == {"history", "stem", "physics", "chemistry"}
    assert list(members("a task's own name")) == list(members(None)) == []


def test_the_same_question_is_asked_once_until_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, folder = use_program(tmp_path, monkeypatch), tmp_path / "tasks"
    folder.mkdir()
    (folder / "own.yaml").write_text("task: own_task")
    for _ in range(2):
        look_up(harness, ("own_task",), folder)
    assert surveys(harness) == 1
    (folder / "own.yaml").write_text("task: own_tasks")
    look_up(harness, ("own_task",), folder)
    look_up(harness, ("own_task", "mmlu"), folder)
    assert surveys(harness) == 3
    cache = harness.python.parent.parent / CACHE
    cache.write_text("{")
    look_up(harness, ("mmlu",), None)
    assert surveys(harness) == 4


def test_an_environment_that_says_nothing_is_named(tmp_path: Path) -> None:
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho ImportError: datasets >&2\nexit 1\n")
    python.chmod(0o755)
    harness = HarnessPython(python, "0.4.13", has_vllm=False)
    with pytest.raises(EngineError, match=r"ended with code 1: ImportError: datasets\. Make its environment"):
        look_up(harness, ("mmlu",), None)


def test_the_names_that_begin_like_one_come_first() -> None:
    known = ["mmlu_pro", "mmlu_pro_plus", "gsm8k", "gsm_plus", "arc_easy"]
    assert close_names("mmlu", known) == ["mmlu_pro", "mmlu_pro_plus"]
    assert close_names("gsm8", known)[0] == "gsm8k"
    assert close_names("quite something else", known) == []


def test_a_folders_hash_is_that_of_names_and_content_without_what_python_makes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text("1")
    first = tasks_hash(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "judge.pyc").write_text("made")
    assert tasks_hash(tmp_path) == first
    (tmp_path / "data" / "a.jsonl").write_text("2")
    second = tasks_hash(tmp_path)
    (tmp_path / "data" / "a.jsonl").rename(tmp_path / "data" / "b.jsonl")
    assert len({first, second, tasks_hash(tmp_path)}) == 3
