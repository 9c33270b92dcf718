"""The sandbox's tasks for lm-eval: right and wrong replies that the verifier tells apart."""

import json
from pathlib import Path

import yaml

from figa_core.records import Message
from figa_core.sandbox.benchmark import CHOICES, GROUP, WRITTEN, write_tasks
from figa_core.sandbox.verifier import verify


def rows(folder: Path, task: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{task}.jsonl").read_text().splitlines()]


def test_of_two_replies_the_right_one_is_better_and_is_first_or_second(tmp_path: Path) -> None:
    write_tasks(tmp_path, questions=40)
    for task in CHOICES:
        places = set()
        for row in rows(tmp_path, task):
            scores = [verify([Message("user", row["question"])], reply) for reply in row["choices"]]
            assert scores[row["right"]] == 1.0 > scores[1 - row["right"]]
            places.add(row["right"])
        assert places == {0, 1}


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_tasks(tmp_path / name, questions=3, seed=seed)
    a, b, c = ([p.read_bytes() for p in sorted((tmp_path / n).iterdir())] for n in "abc")
    assert a == b != c


def test_the_definitions_are_yaml_that_names_their_data(tmp_path: Path) -> None:
    write_tasks(tmp_path, questions=3)
    group = yaml.safe_load((tmp_path / f"{GROUP}.yaml").read_text())
    assert (group["group"], group["task"]) == (GROUP, list(CHOICES))
    for task in (*CHOICES, WRITTEN):
        text = (tmp_path / f"{task}.yaml").read_text().replace("!function ", "")
        found = yaml.safe_load(text)
        assert found["task"] == task
        assert (tmp_path / found["dataset_kwargs"]["data_files"]["test"]).is_file()
        assert found["doc_to_text"] == "{{question}}"
