"""A workspace full of admitted pairs, as the stages before weigh would leave it, and a tokenizer for them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from figa_core.storage.runs import save_run
from tasks.workspace import Workspace

RUN, SCORER = "run", "scorer"
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
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
    """Made-up words of two to nine letters, and cumulated weights by Zipf's law, as in a language."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 9))) for _ in range(_WORDS)]
    return words, list(accumulate(1 / rank for rank in range(1, _WORDS + 1)))


def draw_words(rng: random.Random, count: int) -> list[str]:
    """So many words."""
    words, cumulated = _vocabulary()
    return rng.choices(words, cum_weights=cumulated, k=count)


def make_tokenizer(directory: Path) -> None:
    """A byte-level BPE of 8 000 entries in ChatML, learnt on these words, as a model directory's files."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = draw_words(random.Random(1), 200_000)
    core.train_from_iterator((" ".join(words[i : i + 100]) for i in range(0, len(words), 100)), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")
    tokenizer.chat_template = _CHATML
    tokenizer.save_pretrained(directory)


def pair_texts(count: int, words: int, *, edited: float = 0.1, seed: int = 0) -> Iterator[Texts]:
    """Responses of `words` words; about the share `edited` of them changed, in short runs."""
    rng = random.Random(seed)
    for _ in range(count):
        response = draw_words(rng, words)
        revision = list(response)
        for _ in range(max(1, round(edited * words / _EDIT_RUN))):
            place = rng.randrange(len(revision))
            revision[place : place + _EDIT_RUN] = draw_words(rng, rng.randint(1, 2 * _EDIT_RUN - 1))
        prompt, reference = draw_words(rng, 20), draw_words(rng, words)
        yield Texts(*(" ".join(part) for part in (prompt, response, revision, reference)))


def fill(workspace: Workspace, texts: Iterator[Texts], *, seed: int = 0) -> None:
    """Straight into the tables, because going through the stages would take longer than what is measured."""
    rng = random.Random(seed)
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
        # Ids are hashes in earnest: rows that belong together are anywhere in their tables.
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
