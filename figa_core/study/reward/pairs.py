"""Preference pairs: their record, and the files that they come from and are kept in.

A file of a person's own has one pair a row: `prompt` (text, or chat messages), `chosen` and `rejected` (text,
or chat messages that end with the assistant's, as in many published sets). The study's file is Parquet with
the columns of `PreferencePair`, the messages as in the database, so that SQL can read the texts to score.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from figa_core import ids
from figa_core.errors import InputError, StorageError
from figa_core.files import replacing
from figa_core.prompts.files import iter_rows
from figa_core.prompts.messages import kind_of, parse_messages, text_problem
from figa_core.records import Message
from figa_core.storage.conversations import messages_text, read_messages

COLUMNS = ("prompt", "chosen", "rejected")
_PROBLEMS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two answers to one prompt, the better one first. The ids of the answers are those of their scores."""

    pair_id: str
    prompt_id: str
    messages: tuple[Message, ...]
    chosen_id: str
    chosen: str
    rejected_id: str
    rejected: str


def read_pairs(path: Path) -> list[PreferencePair]:
    """A person's own pairs, each once.

    Raises:
        InputError: the file cannot be read, has no pair, or has rows that are none; the first are named.
    """
    found: dict[str, PreferencePair] = {}
    problems = list[str]()
    bad = 0
    for number, (place, row) in enumerate(iter_rows(path, COLUMNS), start=1):
        pair = row if isinstance(row, str) else _pair(row)
        if isinstance(pair, str):
            bad += 1
            if len(problems) < _PROBLEMS_SHOWN:
                problems.append(f"{place or f'row {number:,}'}: {pair}")
        else:
            found[pair.pair_id] = pair
    if bad:
        shown = "\n".join(f"  - {problem}" for problem in problems)
        more = f"\n  - and {bad - len(problems):,} more" if bad > len(problems) else ""
        raise InputError(
            f"{path}: {bad:,} rows are no preference pairs; correct or remove them:\n{shown}{more}"
        )
    if not found:
        raise InputError(f"{path}: has no preference pairs (rows with {', '.join(COLUMNS)}).")
    return [*found.values()]


def _pair(row: Any) -> PreferencePair | str:
    """The pair of a row, or what is wrong with it."""
    messages = parse_messages(row.get("prompt"), None)
    if isinstance(messages, str):
        return f"prompt: {messages}"
    answers = [_answer(name, row.get(name), messages) for name in ("chosen", "rejected")]
    chosen, rejected = answers
    if chosen[1] or rejected[1]:
        return chosen[1] or rejected[1]
    return make_pair(messages, chosen[0], rejected[0])


def _answer(name: str, value: Any, messages: Sequence[Message]) -> tuple[str, str]:
    """The text and the problem, one of them empty."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        last = value[-1]
        if last.get("role") != "assistant":
            return "", f"{name}: its last message is not the assistant's"
        if len(value) not in (1, len(messages) + 1):
            return "", f"{name}: a conversation must be the prompt with one answer, or the answer alone"
        value = last.get("content")
    if not isinstance(value, str):
        return "", f"{name}: is {'missing' if value is None else kind_of(value)}, not an answer"
    problem = text_problem(value)
    return (value, "") if problem is None else ("", f"{name}: {problem}")


def make_pair(messages: tuple[Message, ...], chosen: str, rejected: str) -> PreferencePair | str:
    """A pair of two texts, with the ids that follow from them; or what is wrong with it."""
    if chosen == rejected:
        return "chosen and rejected are the same"
    prompt = ids.prompt_id(messages)
    chosen_id, rejected_id = (ids.reference_id(prompt, text) for text in (chosen, rejected))
    pair_id = ids.preference_pair_id(chosen_id, rejected_id)
    return PreferencePair(pair_id, prompt, messages, chosen_id, chosen, rejected_id, rejected)


def write_table(path: Path, pairs: Sequence[PreferencePair]) -> None:
    """The study's own file, whole or not at all."""
    rows = [_plain(pair) for pair in pairs]
    schema = pa.schema([(field.name, pa.string()) for field in fields(PreferencePair)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)


def read_table(path: Path) -> list[PreferencePair]:
    """Raises StorageError if it is no such file."""
    try:
        return [*_records(pq.read_table(path))]
    except (OSError, pa.ArrowException, KeyError) as error:
        raise StorageError(f"{path}: no table of preference pairs ({error}). Remove it.") from error


def _records(table: pa.Table) -> Iterator[PreferencePair]:
    for row in table.to_pylist():
        yield PreferencePair(**{**row, "messages": read_messages(row["messages"])})


def _plain(pair: PreferencePair) -> dict[str, str]:
    row = {field.name: getattr(pair, field.name) for field in fields(pair)}
    return {**row, "messages": messages_text(pair.messages)}
