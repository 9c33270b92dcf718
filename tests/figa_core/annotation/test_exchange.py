"""Judgements leave as Parquet or in Argilla's shape, and come back as they were, or not at all."""

import json
import uuid
from pathlib import Path

import pytest

from figa_core.annotation.changes import Verdict
from figa_core.annotation.exchange import read_judgements, write_judgements
from figa_core.annotation.store import Judgement
from figa_core.errors import InputError

from .made import SHARDS, new_desk

KEY = "8-9:8-9"


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_judgements_come_back_as_they_were(tmp_path: Path, suffix: str) -> None:
    desk, path = new_desk(tmp_path / "one"), tmp_path / f"judgements{suffix}"
    desk.judge(SHARDS, "pair-a", KEY, "ada", Verdict.MATTERS, blind=True)
    desk.judge(SHARDS, "pair-a", KEY, "bob", Verdict.WORSE, blind=False)
    write_judgements(path, desk.judgements(), desk.texts)
    other = new_desk(tmp_path / "two")
    assert other.take_in(read_judgements(path)) == 2
    assert other.judgements() == desk.judgements()
    assert other.next_place("ada", -1) == 1  # the pair is finished there, too
    assert other.take_in(read_judgements(path)) == 2
    assert other.judgements() == desk.judgements()


def test_json_is_in_the_shape_of_argilla_s_records_and_takes_its_users_answers(tmp_path: Path) -> None:
    desk, path = new_desk(tmp_path), tmp_path / "judgements.json"
    desk.judge(SHARDS, "pair-a", KEY, "ada", Verdict.MATTERS, blind=False)
    write_judgements(path, desk.judgements(), desk.texts)
    [record] = json.loads(path.read_text())
    assert set(record) == {*("id", "fields", "metadata", "suggestions", "responses", "vectors", "_server_id")}
    assert record["fields"]["before"] == "5"
    assert record["fields"]["revision"] == "2 + 2 = 4"
    [answer] = record["responses"]["verdict"]
    assert answer == {"value": "matters", "user_id": str(uuid.UUID(answer["user_id"]))}
    user = str(uuid.uuid4())
    record["responses"]["verdict"].append({"value": "does not", "user_id": user})
    path.write_text(json.dumps([record]))
    assert desk.take_in(read_judgements(path)) == 2
    assert {j.annotator: j.verdict for j in desk.judgements()} == {"ada": "matters", user: "does not"}


@pytest.mark.parametrize(
    ("scheme", "pair", "change"),
    [("bag_of_words", "pair-a", KEY), ("levenshtein", "pair-z", KEY), ("levenshtein", "pair-a", "0-1:0-1")],
    ids=["another scheme", "another run", "another tokenizer"],
)
def test_judgements_of_another_run_or_scheme_are_refused_with_all_others(
    tmp_path: Path, scheme: str, pair: str, change: str
) -> None:
    desk = new_desk(tmp_path)
    good = Judgement("levenshtein", "pair-a", KEY, "ada", Verdict.MATTERS, False, "2026")
    foreign = Judgement(scheme, pair, change, "ada", Verdict.MATTERS, False, "2026")
    with pytest.raises(InputError, match="1 of 2 judgements are of another run or scheme"):
        desk.take_in([good, foreign])
    assert desk.judgements() == []


def test_nothing_is_written_and_read_again(tmp_path: Path) -> None:
    for name in ("none.parquet", "none.json"):
        write_judgements(tmp_path / name, [], lambda *_: {})
        assert read_judgements(tmp_path / name) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", b"{"),
        ("x.json", b'[{"id": 1}]'),
        ("x.json", b'{"a": 1}'),
        ("x.parquet", b"PAR1"),
        ("x.csv", b""),
        ("missing.json", None),
    ],
)
def test_a_file_of_another_shape_is_refused_in_words(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_judgements(tmp_path / name)
