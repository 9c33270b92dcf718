"""A tokenizer, a random Llama and a shard set that train in seconds, made once per session."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.records import EditClass, WeighedPair
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics
from tests.chatml import save_tokenizer
from tests.figa_core.training.jobs import Finished, MakeJob, changed, training_job, write_set

VOCABULARY = 300


def random_pair(index: int, rng: np.random.Generator) -> WeighedPair:
    """Random ids and classes; every pair has edits, and one in four was cut off."""

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.integers(2, VOCABULARY, count).tolist())

    def classes(count: int, edited: EditClass) -> tuple[int, ...]:
        drawn = rng.choice([EditClass.KEPT, EditClass.SUBSTITUTED, edited], count, p=[0.7, 0.2, 0.1])
        drawn[rng.integers(count)] = EditClass.SUBSTITUTED
        return tuple(drawn.tolist())

    response, revision = (int(n) for n in rng.integers(3, 24, 2))
    end = () if index % 4 == 0 else (int(EditClass.END_OF_TURN),)
    return WeighedPair(
        pair_id=f"pair-{index}",
        prompt_ids=ids(int(rng.integers(2, 12))),
        response_ids=ids(response) + (1,) * len(end),
        response_classes=classes(response, EditClass.DELETED) + end,
        revision_ids=ids(revision) + (1,) * len(end),
        revision_classes=classes(revision, EditClass.INSERTED) + end,
        reference_ids=ids(revision) if index % 3 else (),
        response_reward=0.0,
        revision_reward=1.0,
        scale=(0.5, 1.0, 1.5)[index % 3],
    )


@pytest.fixture(scope="session")
def pairs() -> list[WeighedPair]:
    rng = np.random.default_rng(0)
    return [random_pair(index, rng) for index in range(24)]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    line = "your red lamp will arrive within three days, thank you for waiting"
    save_tokenizer(directory, [line] * 4, VOCABULARY)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def chat(model_dir: Path) -> ChatFormat:
    return load_chat_format(model_dir)


@pytest.fixture(scope="session")
def shards_dir(tmp_path_factory: pytest.TempPathFactory, pairs: list[WeighedPair], chat: ChatFormat) -> Path:
    directory = tmp_path_factory.mktemp("shards")
    write_set(directory, pairs, tokenizer_hash=chat.tokenizer_hash, template_hash=chat.template_hash)
    return directory


@pytest.fixture
def make_job(model_dir: Path, shards_dir: Path, tmp_path: Path) -> MakeJob:
    """Jobs of one rank unless the changes say otherwise; another `model` is a change like others."""
    job = training_job(model_dir, shards_dir, tmp_path / "out", processes=1)
    return lambda **changes: changed(job, **changes)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, model_dir: Path, shards_dir: Path) -> Finished:
    output = tmp_path_factory.mktemp("training")
    job = training_job(model_dir, shards_dir, output / "one")
    seen: list[StepMetrics] = []
    result = run_training(job, on_step=seen.append, log_path=output / "one.log")
    return job, result, seen
