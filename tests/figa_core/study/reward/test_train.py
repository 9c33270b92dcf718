"""Reward models trained on preference pairs, in a process of their own."""

from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.chat.format import load_chat_format
from figa_core.errors import TrainingError
from figa_core.inference.engine import Scoring
from figa_core.ports import RowFailure, ScoringRequest
from figa_core.records import Message
from figa_core.sandbox.build import Sandbox
from figa_core.study.reward.accuracy import accuracy
from figa_core.study.reward.pairs import PreferencePair, make_pair, write_table
from figa_core.study.reward.train import HeadJob, train_head

pytestmark = pytest.mark.slow  # processes that import torch


def polite(count: int) -> list[PreferencePair]:
    """Pairs whose better answer is polite, which is all that there is to learn."""
    made = [
        make_pair(
            (Message("user", f"Where is my lamp number {number}?"),),
            f"Thank you for your patience. It arrives in {number} days.",
            f"Stop whining. It arrives in {number} days.",
        )
        for number in range(count)
    ]
    return [each for each in made if isinstance(each, PreferencePair)]


@pytest.fixture
def job(tmp_path: Path, sandbox: Sandbox) -> HeadJob:
    write_table(tmp_path / "pairs.parquet", polite(48))
    return HeadJob(
        pairs=tmp_path / "pairs.parquet",
        key="full",
        share=1.0,
        noise=0.0,
        start=sandbox.base_model,
        output=tmp_path / "head",
        steps=12,
        max_length=128,
        learning_rate=1e-3,
    )


def rewards(model: Path, pairs: list[PreferencePair]) -> list[tuple[float | None, float | None]]:
    """As the engine of a run scores them."""
    from figa_core.inference.transformers import TransformersScorer

    chat = load_chat_format(model)
    texts = [(pair.messages, text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    ids = chat.conversation_ids_or_reasons(texts)
    rows = [ScoringRequest(str(n), each) for n, each in enumerate(ids) if not isinstance(each, str)]
    found = {}
    for batch in TransformersScorer(Scoring(model, 128)).score(rows):
        found |= dict(row for row in batch if not isinstance(row, RowFailure))
    values = [found.get(str(n)) for n in range(len(texts))]
    return list(zip(values[::2], values[1::2], strict=True))


def test_a_model_learns_what_the_pairs_say_and_is_trained_once(job: HeadJob, tmp_path: Path) -> None:
    figures = train_head(job, tmp_path / "head.log")
    assert figures["pairs"] == 48
    assert figures["steps"] == 12
    assert figures["learning_rate"] == 1e-3
    assert (accuracy(rewards(job.model, polite(60)[48:])).share or 0) > 0.9
    trained = (job.output / "manifest.json").stat().st_mtime
    assert train_head(job, tmp_path / "head.log") == figures
    assert (job.output / "manifest.json").stat().st_mtime == trained
    assert not (job.output / "scratch").exists()


def test_wrong_labels_are_learned_too(job: HeadJob, tmp_path: Path) -> None:
    train_head(replace(job, noise=1.0, output=tmp_path / "wrong"), tmp_path / "head.log")
    found = accuracy(rewards(tmp_path / "wrong" / "model", polite(60)[48:]))
    assert found.pairs == 12
    assert found.right < 2


def test_a_start_that_is_no_model_is_an_error_with_its_reason(job: HeadJob, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(TrainingError, match="could not be trained from"):
        train_head(replace(job, start=tmp_path / "nothing"), tmp_path / "head.log")
    assert not (job.output / "manifest.json").exists()
