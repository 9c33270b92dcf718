"""With ZeRO-3 each rank reads its part of the model, and nothing is lost: weights, masters, buffers, ties."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from figa_core.training.partitioned import partitions_as_read
from tests.figa_core.training.jobs import gradient_job, run_on_ranks
from tests.figa_core.training.small_models import SIZES, make

RANKS = 2
# Large enough that its weights are more than what else a process allocates.
LARGE: dict[str, Any] = {
    **SIZES,
    "vocab_size": 8000,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "tie_word_embeddings": True,
}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: make("llama"),
    "gemma 2": lambda: make("gemma 2"),
    "gpt-2": lambda: make("gpt-2"),
    "experts": lambda: MixtralForCausalLM(MixtralConfig(**SIZES, num_local_experts=3, num_experts_per_tok=2)),
    "large": lambda: LlamaForCausalLM(LlamaConfig(**LARGE)),
}
# The model, the dtype of its files, and that of the training.
CASES = {
    "0 first": ("llama", torch.float32, "float32"),  # pays for imports
    "llama": ("llama", torch.bfloat16, "float32"),
    "llama, float32 masters": ("llama", torch.float32, "bfloat16"),
    "gemma 2": ("gemma 2", torch.bfloat16, "bfloat16"),
    "gpt-2": ("gpt-2", torch.float32, "float32"),
    "experts": ("experts", torch.float32, "float32"),
    "large": ("large", torch.bfloat16, "float32"),
    "large, mapped": ("large", torch.float32, "float32"),
}


@pytest.fixture(scope="module")
def examined(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with what `partitioned_ranks.py` wrote."""
    directory = tmp_path_factory.mktemp("partitioned")
    for name, (model, dtype, training) in CASES.items():
        base = save(MODELS[model]().to(dtype), model_dir, directory / f"{name} base")
        write_job(directory, name, base, dtype=training)
    missing = save(make("llama"), model_dir, directory / "missing base")
    change(missing, lambda weights: weights.pop("model.norm.weight"))
    write_job(directory, "missing", missing)
    untied = save(make("llama"), model_dir, directory / "untied base")
    config = json.loads((untied / "config.json").read_text())
    (untied / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    write_job(directory, "untied", untied)
    run_on_ranks("partitioned_ranks.py", directory, RANKS)
    return directory


def save(model: Any, model_dir: Path, target: Path) -> Path:
    """In several files, with a tokenizer."""
    shutil.copytree(model_dir, target, ignore=shutil.ignore_patterns("model.safetensors", "config.json"))
    size = 4 * sum(weight.numel() for weight in model.parameters())
    model.save_pretrained(target, max_shard_size=size // 4)
    return target


def change(model: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Edit the weights, which are then in one file."""
    weights = weights_in(model)
    edit(weights)
    for path in model.glob("*.safetensors*"):
        path.unlink()
    save_file(weights, model / "model.safetensors", {"format": "pt"})


def weights_in(model: Path) -> dict[str, torch.Tensor]:
    return {name: weight for path in model.glob("*.safetensors") for name, weight in load_file(path).items()}


def write_job(directory: Path, name: str, base: Path, **changes: object) -> None:
    how = {"zero_stage": 3, "processes": RANKS, "output": directory / f"{name} output", **changes}
    job = gradient_job(base, directory, name, **how)
    (directory / f"{name}.job").write_text(job.model_dump_json())


def results(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads((directory / f"{name}.{rank}.json").read_text()) for rank in range(RANKS)]


@pytest.mark.distributed
@pytest.mark.parametrize("name", CASES)
def test_each_rank_holds_its_part_of_what_the_files_have(examined: Path, name: str) -> None:
    of_training = f"torch.{CASES[name][2]}"
    for found in results(examined, name):
        assert found["same names"], "tied weights are one"
        assert found["share"] == pytest.approx(1 / RANKS, rel=0.01)
        assert found["equal"], "the float32 masters too"
        assert found["same buffers"], "they are not rounded"
        assert found["dtypes"] == [of_training]
        assert found["packs"], "it was run on trial, layer by layer"
        assert found["shares"]


@pytest.mark.distributed
@pytest.mark.parametrize("name", ["large", "large, mapped"])
def test_a_rank_never_holds_more_than_its_part_and_one_weight(examined: Path, name: str) -> None:
    weights = weights_in(examined / f"{name} base")
    sizes = [4 * weight.numel() for weight in weights.values()]
    slack = 6_000_000  # for the allocator, and what else a process does
    for found in results(examined, name):
        assert found["anonymous"] <= sum(sizes) / RANKS + max(sizes) + slack < 0.9 * sum(sizes)


@pytest.mark.distributed
@pytest.mark.parametrize("name", CASES)
def test_an_export_of_parts_is_the_model(examined: Path, name: str) -> None:
    before, after = examined / f"{name} base", examined / f"{name} output" / "model"
    expected, found = weights_in(before), weights_in(after)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[weight], expected[weight]) for weight in expected)
    assert len(list(after.glob("*.safetensors"))) > 1
    total = json.loads((after / "model.safetensors.index.json").read_text())["metadata"]["total_size"]
    assert total == sum(weight.nbytes for weight in expected.values())


@pytest.mark.distributed
def test_what_could_not_be_read_in_parts_is_an_error(examined: Path) -> None:
    for found in results(examined, "missing"):
        assert "weights are missing: model.norm.weight" in found["error"]
    for found in results(examined, "untied"):
        assert "lm_head.weight and model.embed_tokens.weight are one weight by its config" in found["error"]


def test_models_of_other_stages_and_those_on_disk_are_not_loaded_in_parts() -> None:
    assert partitions_as_read({"stage": 3})
    assert partitions_as_read({"stage": 3, "offload_param": {"device": "cpu"}})
    assert not partitions_as_read({"stage": 3, "offload_param": {"device": "nvme"}})
    assert not partitions_as_read({"stage": 2})
