"""A model is written as Hugging Face writes it, file by file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from figa_core.training.exported_weights import FILE_BYTES, gather_weights, plan_weights, write_weights
from tests.figa_core.training.small_models import MODELS, SIZES

KINDS: dict[str, Callable[[], Any]] = {
    "llama": MODELS["llama"],
    "tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "gpt-2": MODELS["gpt-2"],
    "experts": lambda: MixtralForCausalLM(MixtralConfig(**SIZES, num_local_experts=3, num_experts_per_tok=2)),
}


def contents(directory: Path) -> dict[str, torch.Tensor]:
    return {name: each for path in directory.glob("*.safetensors") for name, each in load_file(path).items()}


def write(model: Any, directory: Path, file_bytes: int, dtype: torch.dtype = torch.float32) -> None:
    directory.mkdir()
    plan = plan_weights(model, dtype, file_bytes=file_bytes)
    write_weights(directory, model, plan, model.state_dict().__getitem__)


@pytest.mark.parametrize("file_bytes", [FILE_BYTES, 20_000, 1])
@pytest.mark.parametrize("reloaded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_and_the_index_are_those_of_save_pretrained(
    kind: str, reloaded: bool, file_bytes: int, tmp_path: Path
) -> None:
    model = KINDS[kind]()
    if reloaded:  # transformers then remembers how it converted the weights
        model.save_pretrained(tmp_path / "base")
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write(model, ours, file_bytes)
    model.save_pretrained(theirs, max_shard_size=file_bytes)
    expected, found = contents(theirs), contents(ours)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    index = "model.safetensors.index.json"
    assert (ours / index).exists() == (theirs / index).exists() == (file_bytes != FILE_BYTES)
    if (ours / index).exists():
        our_index, their_index = (json.loads((each / index).read_text()) for each in (ours, theirs))
        assert our_index["metadata"] == their_index["metadata"]
        assert our_index["weight_map"].keys() == their_index["weight_map"].keys()
    for path in ours.glob("*.safetensors"):
        weights = load_file(path)
        assert len(weights) == 1 or sum(each.nbytes for each in weights.values()) <= file_bytes


def test_a_file_is_written_before_the_weights_of_the_second_next_are_asked_for(tmp_path: Path) -> None:
    model = KINDS["llama"]()
    state = model.state_dict()
    plan = plan_weights(model, torch.bfloat16, file_bytes=8_000)
    files = list(dict.fromkeys(plan.file_of.values()))
    assert len(files) > 4

    def weight_of(name: str) -> torch.Tensor:
        place = files.index(plan.file_of[name])
        assert [path.name for path in sorted(tmp_path.iterdir())] == files[: max(place, 1) - 1] or [
            path.name for path in sorted(tmp_path.iterdir())
        ] == files[:place]
        return state[name]

    write_weights(tmp_path, model, plan, weight_of)
    assert {each.dtype for each in contents(tmp_path).values()} == {torch.bfloat16}


@pytest.mark.parametrize("kind", KINDS)
def test_all_ranks_ask_for_the_same_weights_in_the_same_order(kind: str, tmp_path: Path) -> None:
    model = KINDS[kind]()
    state, asked = model.state_dict(), []
    plan = plan_weights(model, torch.float32)
    write_weights(tmp_path, model, plan, lambda name: asked.append(name) or state[name])
    by_others: list[str] = []
    gather_weights(plan, lambda name: by_others.append(name) or state[name])
    assert asked == by_others
    assert len(asked) == len(set(asked)) == len(list(model.parameters()))


def test_writing_changes_no_weight(tmp_path: Path) -> None:
    model = KINDS["experts"]()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    write(model, tmp_path / "written", 20_000, torch.bfloat16)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
