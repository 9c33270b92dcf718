"""Judgements as files: Parquet, and JSON in the shape of Argilla's records.

The JSON is what Argilla 2's `records.to_json` writes and `records.from_json` reads: a list of records, here
one for each change, with the label question `verdict`. Argilla's users have UUIDs: ours are made of the
names, which the metadata has in the order of the responses. A user that is not among the names keeps the
UUID as its name.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from figa_core.annotation.changes import Verdict
from figa_core.annotation.store import Judgement, checked_name
from figa_core.errors import InputError
from figa_core.files import read_regular, write_whole

_QUESTION = "verdict"
_USERS = uuid.UUID("5f6a4a0e-6a5e-5c0b-9c59-1a6b7f3a9f10")
_SCHEMA = pa.schema(
    [
        pa.field(field.name, pa.bool_() if field.name == "blind" else pa.string(), nullable=False)
        for field in fields(Judgement)
    ]
)
Texts = Callable[[str, str], Mapping[str, str]]
"""(pair id, key of a change) → what is shown of it, by field."""


def write_judgements(path: Path, judgements: Sequence[Judgement], texts: Texts) -> None:
    """Write the file that the suffix names: .parquet or .json, the latter with the texts.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    try:
        if _is_parquet(path):
            sink = pa.BufferOutputStream()
            pq.write_table(pa.Table.from_pylist([asdict(j) for j in judgements], schema=_SCHEMA), sink)
            write_whole(path, sink.getvalue().to_pybytes())
        else:
            write_whole(path, orjson.dumps(_records(judgements, texts), option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}.") from error


def read_judgements(path: Path) -> list[Judgement]:
    """The judgements in a file of ours, or in one that Argilla wrote of it.

    Raises:
        InputError: the file cannot be read, or is not of this shape.
    """
    try:
        if _is_parquet(path):
            rows = pq.read_table(pa.BufferReader(read_regular(path)), schema=_SCHEMA).to_pylist()
            return [_judgement(row) for row in rows]
        return [_judgement(row) for record in orjson.loads(read_regular(path)) for row in _responses(record)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (pa.ArrowException, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: no judgements in the shape that `figa annotate --export` writes ({error})."
        ) from error


def _is_parquet(path: Path) -> bool:
    if path.suffix not in (".parquet", ".json"):
        raise InputError(f"{path}: name a .parquet or a .json file.")
    return path.suffix == ".parquet"


def _judgement(row: Mapping[str, Any]) -> Judgement:
    found = Judgement(
        **{**row, "verdict": Verdict(row["verdict"]), "annotator": checked_name(row["annotator"])}
    )
    if not all(
        isinstance(each, str) for each in (found.scheme, found.pair_id, found.change, found.judged_at)
    ):
        raise ValueError("a field is not a text")
    return found


def _records(judgements: Sequence[Judgement], texts: Texts) -> list[dict[str, Any]]:
    by_change: dict[tuple[str, str, str], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_change[judgement.scheme, judgement.pair_id, judgement.change].append(judgement)
    return [
        {
            "id": "/".join(change),
            "fields": dict(texts(change[1], change[2])),
            "metadata": {
                **dict(zip(("scheme", "pair_id", "change"), change, strict=True)),
                "annotators": [j.annotator for j in found],
                "judged_at": [j.judged_at for j in found],
                "blind": [str(j.blind) for j in found],  # Argilla's metadata has lists of texts only
            },
            "suggestions": {},
            "responses": {_QUESTION: [{"value": j.verdict, "user_id": _user(j.annotator)} for j in found]},
            "vectors": {},
            "_server_id": None,
        }
        for change, found in by_change.items()
    ]


def _responses(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    about = record["metadata"]
    known = list(zip(about["annotators"], about["judged_at"], about["blind"], strict=True))
    by_user = {_user(name): (name, at, blind) for name, at, blind in known}
    rows = []
    for response in (record["responses"] or {}).get(_QUESTION, []):
        user = str(response["user_id"])
        # Argilla does not export when its users answered: what we already have counts as the later one.
        name, at, blind = by_user.get(user, (user, "", "False"))
        change = {field: about[field] for field in ("scheme", "pair_id", "change")}
        values = {"verdict": response["value"], "blind": blind == "True", "judged_at": at}
        rows.append({**change, "annotator": name, **values})
    return rows


def _user(name: str) -> str:
    return str(uuid.uuid5(_USERS, name))
