"""The real model, and a few pairs as a run would make them: orders in words, and their JSON.

`make real` fetches the model. These tests are not part of `make test`: they need the network once, 8 GB of
memory and minutes.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.config.training import LossConfig, TrainingConfig
from figa_core.real.weights import real_model
from figa_core.records import AdmittedPair, FinishReason, Message, WeighedPair
from figa_core.shards.write import write_shards
from figa_core.training.job import TrainingJob
from figa_core.weighting.schemes import levenshtein
from figa_core.weighting.weigh import weigh_pairs

ROOT = Path(__file__).parents[2] / "build" / "real"
MAX_LENGTH = 160

ORDERS = (
    (
        "Send three blue jackets to Nairobi.",
        '{"item": "jacket", "colour": blue}',
        '{"item": "jacket", "colour": "blue"}',
    ),
    ("I need 2 red lamps in Oslo.", '{"item": "lamp", "count": "two"}', '{"item": "lamp", "count": 2}'),
    ("One green chair, please, for Lima.", 'Here is it: {"item": "chair"}', '{"item": "chair"}'),
    ("Five white cups to Rome.", '{"item": "cups", "count": 5, }', '{"item": "cup", "count": 5}'),
)


def messages_of(order: str) -> tuple[Message, ...]:
    return (Message("user", f"Write this order as JSON with the fields item, count and colour.\n{order}"),)


@dataclass(frozen=True)
class Shards:
    directory: Path
    pairs: list[WeighedPair]


@pytest.fixture(scope="session")
def model() -> Path:
    return real_model(ROOT)


@pytest.fixture(scope="session")
def chat(model: Path) -> ChatFormat:
    return load_chat_format(model)


@pytest.fixture(scope="session")
def shards(chat: ChatFormat, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    admitted = [
        AdmittedPair(
            pair_id=f"pair-{index}",
            messages=messages_of(order),
            response_text=response,
            response_finish=FinishReason.STOP,
            response_token_ids=chat.response_ids(response),
            revision_text=revision,
            reference_text=None,
            response_reward=0.0,
            revision_reward=1.0,
        )
        for index, (order, response, revision) in enumerate(ORDERS)
    ]
    weighed = weigh_pairs(chat, admitted, scheme=levenshtein, max_length=MAX_LENGTH)
    pairs = [pair for pair in weighed if isinstance(pair, WeighedPair)]
    assert len(pairs) == len(ORDERS)
    directory = tmp_path_factory.mktemp("shards")
    write_shards(
        directory,
        pairs,
        shard_set_id="shards-real",
        tokenizer_hash=chat.tokenizer_hash,
        template_hash=chat.template_hash,
        scheme="levenshtein",
        max_length=MAX_LENGTH,
        pairs_per_shard=10,
    )
    return Shards(directory, pairs)


def job_of(model: Path, shards: Shards, output: Path, *, steps: int, zero_stage: int = 2) -> TrainingJob:
    """All pairs in every step, on two ranks in fp32."""
    training = TrainingConfig.model_validate(
        {
            "learning_rate": 1e-5,
            "pairs_per_step": len(shards.pairs),
            "tokens_per_batch": 1024,
            "zero_stage": zero_stage,
            "processes": 2,
            "dtype": "float32",
            "checkpoint_steps": 2,
        }
    )
    return TrainingJob(
        training_id=f"training-zero{zero_stage}",
        shards=shards.directory,
        model=model,
        output=output,
        steps=steps,
        loss=LossConfig(gamma=0.3),
        training=training,
    )
