"""A run's prompts and responses for tests of rewards, without a model."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from figa_core import ids
from figa_core.records import FinishReason, Message, Prompt, Response, Split
from figa_core.storage.database import Database
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import responses_of

from .conftest import RUN

GENERATOR = "generator"
RESPONSES = responses_of(RUN, GENERATOR, Split.TRAIN)


def add_responses(database: Database, texts: Sequence[str], **fields: Any) -> None:
    """One prompt for each text, whose response it is; `fields` are those of every prompt's row."""
    prompts = [
        Prompt(ids.prompt_id(messages), messages, Split.TRAIN, fields=json.dumps(fields))
        for i in range(len(texts))
        for messages in [(Message("user", f"question {i}"),)]
    ]
    save_prompts(database, RUN, prompts)
    rows = zip(prompts, texts, strict=True)
    responses = [
        Response(f"response-{i}", prompt.prompt_id, 0, text, (5,), FinishReason.STOP)
        for i, (prompt, text) in enumerate(rows)
    ]
    save_responses(database, GENERATOR, responses)


def with_two_labels(reward: Path, target: Path) -> Path:
    """A copy of a reward model with the labels "bad" and "good": the second has its own values."""
    shutil.copytree(reward, target)
    weights = load_file(target / "model.safetensors")
    weights["score.weight"] = torch.cat([-weights["score.weight"], weights["score.weight"]])
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    path = target / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "id2label": {"0": "bad", "1": "good"}}))
    return target


def values_of(database: Database, scorer: str) -> dict[str, float]:
    """The values of one scorer, by the response's text."""
    rows = database.fetch(
        "SELECT r.text, s.value FROM scores s JOIN responses r ON r.response_id = s.subject_id "
        "WHERE s.scorer_id = $scorer",
        scorer=scorer,
    )
    return dict(rows)


def failures_of(database: Database, scorer: str) -> dict[str, str]:
    """Why responses have no value of one scorer, by their text."""
    rows = database.fetch(
        "SELECT r.text, f.reason FROM score_failures f JOIN responses r ON r.response_id = f.subject_id "
        "WHERE f.scorer_id = $scorer",
        scorer=scorer,
    )
    return dict(rows)
