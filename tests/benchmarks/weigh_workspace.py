"""A workspace with admitted pairs, as after the stages before weigh, and a tokenizer for them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from figa_core.storage.runs import save_run
from tasks.workspace import Workspace
from tests.chatml import save_tokenizer

RUN, SCORER = "run", "scorer"
_WORDS = 6000
_EDIT_RUN = 3
_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Texts:
    """One pair: prompt, Ŷ, Ỹ and Y."""

    prompt: str
    response: str
    revision: str
    reference: str


@cache
def _vocabulary() -> tuple[list[str], list[float]]:
    """Random words of two to nine letters, and cumulative weights by Zipf's law, as in a language."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 9))) for _ in range(_WORDS)]
    return words, list(accumulate(1 / rank for rank in range(1, _WORDS + 1)))


def draw_words(rng: random.Random, count: int) -> list[str]:
    """Random words."""
    words, cumulated = _vocabulary()
    return rng.choices(words, cum_weights=cumulated, k=count)


def make_tokenizer(directory: Path) -> None:
    """A byte-level BPE with 8 000 entries and the ChatML template, trained on these words."""
    words = draw_words(random.Random(1), 200_000)
    save_tokenizer(directory, (" ".join(words[i : i + 100]) for i in range(0, len(words), 100)), 8000)


def pair_texts(count: int, words: int) -> Iterator[Texts]:
    """Responses of `words` words; about a tenth of them is changed, in short runs."""
    rng = random.Random(0)
    for _ in range(count):
        response = draw_words(rng, words)
        revision = list(response)
        for _ in range(max(1, round(0.1 * words / _EDIT_RUN))):
            place = rng.randrange(len(revision))
            revision[place : place + _EDIT_RUN] = draw_words(rng, rng.randint(1, 2 * _EDIT_RUN - 1))
        prompt, reference = draw_words(rng, 20), draw_words(rng, words)
        yield Texts(*(" ".join(part) for part in (prompt, response, revision, reference)))


def fill(workspace: Workspace, texts: Iterator[Texts]) -> None:
    """Insert directly into the tables: running the stages would take longer than the measurement."""
    rng = random.Random(0)
    database = workspace.database
    database.create()
    save_run(database, RUN, "benchmark", {}, None)
    rows = _rows(texts, rng)
    while chunk := [row for row, _ in zip(rows, range(_ROWS_AT_ONCE), strict=False)]:
        with database.transaction() as connection:
            for table in chunk[0]:
                incoming = pa.Table.from_pylist([one for row in chunk for one in row[table]])
                connection.register("incoming", incoming)
                names = ", ".join(incoming.column_names)
                connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming")
                connection.unregister("incoming")


def _rows(texts: Iterator[Texts], rng: random.Random) -> Iterator[dict[str, list[dict[str, Any]]]]:
    for text in texts:
        # Real ids are hashes, so rows that belong together are at random places in their tables.
        prompt, reference, response, revision = (
            f"{kind}-s256-{rng.getrandbits(128):032x}"
            for kind in ("prompt", "reference", "response", "revision")
        )
        messages = orjson.dumps([{"role": "user", "content": text.prompt}]).decode()
        yield {
            "prompts": [{"prompt_id": prompt, "messages": messages, "split": "train"}],
            "reference_answers": [{"reference_id": reference, "prompt_id": prompt, "text": text.reference}],
            "responses": [
                {
                    "response_id": response,
                    "prompt_id": prompt,
                    "generator_id": "generator",
                    "sample_index": 0,
                    "text": text.response,
                    "token_ids": [rng.randrange(8000) for _ in range(len(text.response) // 4)],
                    "finish_reason": "stop",
                }
            ],
            "revisions": [
                {
                    "revision_id": revision,
                    "response_id": response,
                    "reference_id": reference,
                    "model": "teacher",
                    "status": "succeeded",
                    "text": text.revision,
                }
            ],
            "scores": [
                {"subject_id": response, "scorer_id": SCORER, "value": -1.0},
                {"subject_id": revision, "scorer_id": SCORER, "value": 1.0},
            ],
            "pairs": [
                {
                    "run_id": RUN,
                    "response_id": response,
                    "prompt_id": prompt,
                    "kept": True,
                    "keep_reason": "",
                    "revision_id": revision,
                    "scorer_id": SCORER,
                    "admitted": True,
                }
            ],
        }
