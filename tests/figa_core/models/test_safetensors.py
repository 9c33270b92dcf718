"""Headers of safetensors files, and files that are not safetensors."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from figa_core.errors import EngineError
from figa_core.models.safetensors import read_header


def file_with(path: Path, header: bytes, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"b": torch.zeros(2, 3), "a": torch.ones(4).bfloat16()}, path, metadata={"format": "pt"})
    return path


def test_a_header_gives_name_type_shape_and_place(weights: Path) -> None:
    found = {tensor.name: tensor for tensor in read_header(weights)}
    assert (found["a"].dtype, found["a"].shape) == ("BF16", (4,))
    assert (found["b"].dtype, found["b"].shape) == ("F32", (2, 3))
    body = weights.read_bytes()
    assert (
        body[found["a"].begin : found["a"].end]
        == torch.ones(4).bfloat16().view(torch.uint8).numpy().tobytes()
    )
    assert max(tensor.end for tensor in found.values()) == len(body)


def test_a_file_that_is_cut_anywhere_is_refused(weights: Path) -> None:
    body = weights.read_bytes()
    for length in range(len(body)):
        weights.write_bytes(body[:length])
        with pytest.raises(EngineError, match=r"model\.safetensors: cannot be read"):
            read_header(weights)


def test_a_file_with_something_after_its_weights_is_refused(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(EngineError, match="something follows its weights"):
        read_header(weights)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "git-lfs pointer.*git lfs pull",
        ),
        (b"\n <!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"PK\x03\x04" + b"\0" * 3 + b"\x08" * 40, "pickle"),
        (b"\xff" * 40, "not a safetensors file"),
        (b"abc", "after 3 bytes"),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path: Path, body: bytes, words: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(body)
    with pytest.raises(EngineError, match=words):
        read_header(path)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{nothing",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"a": []}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [2]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode(),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        read_header(file_with(tmp_path / "model.safetensors", header, b"\0" * 8))


def test_the_length_of_a_header_may_look_like_the_beginning_of_another_format(tmp_path: Path) -> None:
    for length in (0x3C, 0x0280, 0x3C20):  # "<", a pickle's first bytes, " <"
        header = b"{}".ljust(length)
        assert read_header(file_with(tmp_path / "model.safetensors", header)) == []
