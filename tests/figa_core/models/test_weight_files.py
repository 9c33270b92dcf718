"""The files of a model's weights, and what a directory has instead of them."""

import os
import shutil
from pathlib import Path

import pytest

from figa_core.models.weight_files import irregular_files, lfs_pointers, read_weights
from tests.figa_core.models.conftest import edit


def only_problem(model: Path) -> str:
    (only,) = read_weights(model).problems
    return only


def test_one_file_or_several_hold_the_same_weights(policy: Path, sharded: Path) -> None:
    one, several = read_weights(policy), read_weights(sharded)
    assert one.problems == several.problems == []
    assert one.tensors.keys() == several.tensors.keys()
    assert len({tensor.file for tensor in several.tensors.values()}) > 1


def test_missing_shards_are_counted_and_named(sharded: Path) -> None:
    files = sorted(sharded.glob("*.safetensors"))
    files[1].unlink()
    assert f"1 of {len(files)} shards are missing ({files[1].name})" in only_problem(sharded)


def test_a_weight_that_its_shard_does_not_hold_is_named(sharded: Path) -> None:
    first, second, *_ = sorted(sharded.glob("*.safetensors"))
    first.write_bytes(second.read_bytes())
    assert "lists weights that their files do not hold" in only_problem(sharded)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ({}, "no weight_map"),
        ([], "no weight_map"),
        ({"a": 1}, "no weight_map"),
        ({"a": "../x"}, "files elsewhere"),
    ],
)
def test_an_index_that_cannot_be_used_is_named(sharded: Path, listed: object, words: str) -> None:
    edit(sharded / "model.safetensors.index.json", weight_map=listed)
    assert words in only_problem(sharded)


def test_an_index_that_is_not_json_is_named(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").write_text("[")
    assert "index.json: not valid JSON" in only_problem(sharded)


def test_shards_without_their_index_are_not_loaded(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    assert "neither model.safetensors nor model.safetensors.index.json" in only_problem(sharded)


def test_a_file_and_an_index_are_refused_together(policy: Path, sharded: Path) -> None:
    (policy / "model.safetensors").rename(sharded / "model.safetensors")
    assert "engines differ in which they load" in only_problem(sharded)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pytorch_model.bin", "pickled weights are not loaded"),
        ("consolidated.00.pth", "pickled weights are not loaded"),
        ("model-Q4_K_M.gguf", "GGUF is quantized"),
        ("README.md", "has no .safetensors weights"),
    ],
)
def test_files_instead_of_weights_are_named(policy: Path, name: str, words: str) -> None:
    (policy / "model.safetensors").rename(policy / name)
    assert words in only_problem(policy)


@pytest.mark.parametrize("below", ["checkpoint-500", "snapshots/4d7a"])
def test_a_model_in_a_folder_below_is_named(policy: Path, tmp_path: Path, below: str) -> None:
    outer = tmp_path / "outer"
    shutil.copytree(policy, outer / below)
    assert only_problem(outer) == (
        f"{outer}: holds no model itself, but {below} in it does. Give {outer / below}."
    )


def test_an_adapter_is_not_a_model(policy: Path) -> None:
    (policy / "adapter_config.json").write_text('{"base_model_name_or_path": "meta-llama/Llama-3.1-8B"}')
    assert "the adapter would be left out" in only_problem(policy)
    (policy / "model.safetensors").rename(policy / "adapter_model.safetensors")
    assert "is a PEFT adapter, not a whole model" in only_problem(policy)


def test_a_broken_link_is_named(policy: Path) -> None:
    (policy / "model.safetensors").unlink()
    (policy / "model.safetensors").symlink_to("blobs/nothing")
    (only,) = lfs_pointers(policy)
    assert only.startswith(f"{policy / 'model.safetensors'}: cannot be read: it is a link to a file that")


def test_pipes_are_named_before_anything_reads_them(policy: Path) -> None:
    assert irregular_files(policy) == []
    (policy / "additional_chat_templates").mkdir()
    (policy / "dangling").symlink_to("nowhere")
    os.mkfifo(policy / "chat_template.jinja")
    os.mkfifo(policy / "additional_chat_templates" / "tools.jinja")
    first, second = irregular_files(policy)
    assert first.startswith(
        f"{policy / 'additional_chat_templates' / 'tools.jinja'}: cannot read it: it is a"
    )
    assert second == (
        f"{policy / 'chat_template.jinja'}: cannot read it: it is a pipe, not a regular file. Fetch it again."
    )
