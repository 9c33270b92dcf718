"""NaN and infinity in weights are found in every type, and so are weights that were never downloaded."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from figa_core.models.safetensors import read_header
from figa_core.models.values import file_not_finite, value_problems

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
BAD = [float("nan"), float("inf"), float("-inf")]


def written(path: Path, **weights: torch.Tensor) -> Path:
    save_file(weights, path)
    return path


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value", BAD)
def test_one_value_that_is_not_finite_is_found(tmp_path: Path, dtype: torch.dtype, value: float) -> None:
    norm = torch.ones(7, dtype=dtype)
    norm[3] = value
    path = written(tmp_path / "w.safetensors", a=torch.ones(5, dtype=dtype), norm=norm)
    [found] = value_problems(read_header(path))
    assert found.startswith(f"{path}: norm holds NaN or infinite values")
    assert file_not_finite(path) == "norm"


@pytest.mark.parametrize("dtype", TYPES)
def test_the_largest_and_smallest_numbers_are_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    ends = torch.tensor([limits.max, limits.min, limits.tiny, 0.0, -0.0], dtype=dtype)
    path = written(tmp_path / "w.safetensors", ends=ends, ids=torch.full((3,), -1))
    assert value_problems(read_header(path)) == []
    assert file_not_finite(path) is None


def test_large_weights_are_sampled_and_read_in_full_when_they_are_hashed(tmp_path: Path) -> None:
    large = torch.zeros(9_000_000, dtype=torch.bfloat16)  # more than one piece
    for place, sampled in ((0, True), (large.numel() // 2 + 5, True), (large.numel() - 1, False)):
        changed = large.clone()
        changed[place] = float("nan")
        path = written(tmp_path / "w.safetensors", changed=changed)
        assert bool(value_problems(read_header(path))) is sampled
        assert file_not_finite(path) == "changed"


def test_a_mask_of_minus_infinity_is_not_a_weight(tmp_path: Path) -> None:
    mask = torch.tensor(float("-inf"), dtype=torch.float16)
    path = written(tmp_path / "w.safetensors", **{"h.0.attn.masked_bias": mask})
    assert value_problems(read_header(path)) == []
    assert file_not_finite(path) is None


def test_a_file_of_another_format_is_left_to_others_to_report(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 40)
    assert file_not_finite(tmp_path / "w.safetensors") is None


def test_zeros_of_an_interrupted_download_are_found(tmp_path: Path) -> None:
    whole = {f"w{i}": torch.ones(400, 100) for i in range(4)}
    path = written(tmp_path / "w.safetensors", **whole, bias=torch.zeros(400))
    assert value_problems(read_header(path)) == []
    body = path.read_bytes()
    path.write_bytes(body[: len(body) // 2] + bytes(len(body) - len(body) // 2))
    [found] = value_problems(read_header(path))
    assert "of 4 matrices hold only zeros (w" in found


def test_one_matrix_of_zeros_among_many_is_accepted(tmp_path: Path) -> None:
    weights = {f"w{i}": torch.full((3, 3), float(i)) for i in range(10)}
    assert value_problems(read_header(written(tmp_path / "w.safetensors", **weights))) == []
