"""The snapshot of admitted pairs: every row whole and in order, over many buckets, none of another run."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from figa_core.records import AdmittedPair, Decision, FinishReason, Message
from figa_core.storage import admitted
from figa_core.storage.admitted import AdmittedPairs, save_weighings
from figa_core.storage.database import Database


def pair(index: int) -> AdmittedPair:
    number = f"{index * 7919 % 10_007:05d}"  # ids in another order than the rows
    return AdmittedPair(
        pair_id=f"revision-{number}",
        response_id=f"response-{10_006 - int(number):05d}",
        messages=(Message("user", f"question {number}"),),
        response_text=f"answer {number}",
        response_finish=FinishReason.LENGTH if index % 5 == 0 else FinishReason.STOP,
        response_token_ids=tuple(range(index % 4)),
        revision_text=f"better {number}",
        reference_text=f"best {number}" if index % 3 else None,
        response_reward=-float(index),
        revision_reward=float(index),
    )


def fill(database: Database, pairs: list[AdmittedPair]) -> None:
    """Straight into the tables: what the stages before would have left."""
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("prompts", "responses", "revisions", "reference_answers", "pairs", "scores")
    }
    for one in pairs:
        prompt, reference = f"prompt-{one.pair_id}", one.reference_text and f"reference-{one.pair_id}"
        messages = orjson.dumps([m.as_dict() for m in one.messages]).decode()
        tables["prompts"].append({"prompt_id": prompt, "messages": messages, "split": "train"})
        tables["responses"].append(
            {
                "response_id": one.response_id,
                "prompt_id": prompt,
                "generator_id": "g",
                "sample_index": 0,
                "text": one.response_text,
                "token_ids": list(one.response_token_ids),
                "finish_reason": str(one.response_finish),
            }
        )
        tables["revisions"].append(
            {
                "revision_id": one.pair_id,
                "response_id": one.response_id,
                "reference_id": reference,
                "model": "m",
                "status": "succeeded",
                "text": one.revision_text,
            }
        )
        if one.reference_text is not None:
            tables["reference_answers"].append(
                {"reference_id": reference, "prompt_id": prompt, "text": one.reference_text}
            )
        tables["pairs"].append(
            {
                "run_id": "run",
                "response_id": one.response_id,
                "prompt_id": prompt,
                "kept": True,
                "keep_reason": "",
                "revision_id": one.pair_id,
                "scorer_id": "s",
                "admitted": True,
            }
        )
        for subject, value in ((one.response_id, one.response_reward), (one.pair_id, one.revision_reward)):
            tables["scores"].append({"subject_id": subject, "scorer_id": "s", "value": value})
            tables["scores"].append({"subject_id": subject, "scorer_id": "other", "value": 99.0})
    with database.transaction() as connection:
        for name, rows in tables.items():
            incoming = pa.Table.from_pylist(rows)
            connection.register("incoming", incoming)
            names = ", ".join(incoming.column_names)
            connection.execute(f"INSERT INTO {name} ({names}) SELECT {names} FROM incoming")
            connection.unregister("incoming")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    database = Database(tmp_path_factory.mktemp("workspace") / "figa.duckdb")
    database.create()
    fill(database, [pair(index) for index in range(3000)])
    return database


def expected(pairs: int) -> list[AdmittedPair]:
    return sorted((pair(index) for index in range(pairs)), key=lambda one: one.pair_id)


@pytest.mark.parametrize("most_buckets", [512, 2], ids=["many buckets", "few and large buckets"])
def test_every_pair_comes_back_whole_and_in_order(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_buckets: int
) -> None:
    monkeypatch.setattr(admitted, "_MOST_BUCKETS", most_buckets)
    pairs = AdmittedPairs(database, "run", "s", tmp_path / "missing" / "scratch")
    pages = list(pairs.pages())
    assert len(pages) == min(most_buckets, 3)
    assert max(map(len, pages)) - min(map(len, pages)) < 100  # none holds much more than its share
    assert [one for page in pages for one in page] == expected(3000)
    assert list(pairs.ids()) == [one.pair_id for one in expected(3000)]
    assert len(pairs) == 3000


def test_the_database_is_free_while_pairs_are_read(database: Database, tmp_path: Path) -> None:
    pages = AdmittedPairs(database, "run", "s", tmp_path).pages()
    next(pages)
    with database.transaction() as connection:
        connection.execute("UPDATE revisions SET text = text")
    assert sum(map(len, pages)) == 3000 - 1024


def test_what_a_killed_run_left_in_scratch_is_not_read(database: Database, tmp_path: Path) -> None:
    (tmp_path / "places-000.arrow").write_bytes(b"half a file")
    assert len(list(AdmittedPairs(database, "run", "s", tmp_path).ids())) == 3000
    assert list(AdmittedPairs(database, "another run", "s", tmp_path).pages()) == []


def test_a_scorer_that_scored_nothing_gives_nothing(database: Database, tmp_path: Path) -> None:
    assert len(AdmittedPairs(database, "run", "unknown", tmp_path)) == 0


def test_decided_pairs_are_left_out_only_where_that_is_asked_for(tmp_path: Path) -> None:
    database = Database(tmp_path / "workspace" / "figa.duckdb")
    database.create()
    fill(database, [pair(index) for index in range(4)])
    first, second, *others = expected(4)
    for one, went_in in ((first, True), (second, False)):
        save_weighings(database, "run", {one.response_id: Decision(went_in, "decided")})
    every = AdmittedPairs(database, "run", "s", tmp_path / "scratch")
    assert list(every.ids()) == [one.pair_id for one in (first, second, *others)]
    open_ones = AdmittedPairs(database, "run", "s", tmp_path / "scratch", only_undecided=True)
    assert list(open_ones.pages()) == [others]
