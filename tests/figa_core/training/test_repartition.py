"""Pieces of parameters are found in the parts of all ranks, whatever their layout."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from figa_core.errors import TrainingError
from figa_core.training.repartition import Piece, _Reader, read_parts

SHAPES = {"matrix": torch.Size((3, 5)), "vector": torch.Size((4,)), "scalar": torch.Size(())}
WHOLE = {"matrix": torch.arange(15.0), "vector": torch.arange(100.0, 104.0), "scalar": torch.tensor([7.0])}


def saved_by_zero_2(directory: Path, ranks: int, states: Any = None) -> None:
    """The group's parameters one after another, cut into equal parts; the last is filled up."""
    flat = torch.cat([*WHOLE.values()])
    size = -(-len(flat) // ranks)
    for rank in range(ranks):
        begin, mapping, at = rank * size, {}, 0
        for name, weights in WHOLE.items():
            first, end = max(at, begin), min(at + len(weights), begin + size)
            if first < end:
                mapping[name] = SimpleNamespace(start=first - begin, numel=end - first)
            at += len(weights)
        part = flat[begin : begin + size]
        moments = torch.nn.functional.pad(part * 2, (0, size - len(part)))
        found = {"exp_avg": moments, "step": torch.tensor(3.0)} if states is None else states
        state = {
            "param_slice_mappings": [mapping],
            "single_partition_of_fp32_groups": [part.clone()],
            "base_optimizer_state": {"state": {0: found}},
        }
        torch.save(
            {"optimizer_state_dict": state}, directory / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        )


def saved_by_zero_3(directory: Path, ranks: int) -> None:
    """Each parameter is cut into equal parts, of which the last are filled up."""
    torch.save({"param_shapes": [SHAPES]}, directory / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    for rank in range(ranks):
        parts = []
        for weights in WHOLE.values():
            share = -(-len(weights) // ranks)
            part = weights[rank * share : (rank + 1) * share]
            parts.append(torch.nn.functional.pad(part, (0, share - len(part)), value=-1.0))
        flat = torch.cat(parts)
        moments = {0: {"exp_avg": flat * 2, "step": torch.tensor(3.0)}}
        state = {"fp32_flat_groups": [flat], "optimizer_state_dict": {"state": moments}}
        torch.save(
            {"optimizer_state_dict": state}, directory / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        )


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("save", [saved_by_zero_2, saved_by_zero_3])
def test_any_piece_is_read_from_the_parts_of_any_number_of_ranks(
    save: Any, ranks: int, tmp_path: Path
) -> None:
    save(tmp_path, ranks)
    reader = _Reader(read_parts(tmp_path))
    for name, weights in WHOLE.items():
        for start in range(len(weights)):
            for numel in range(1, len(weights) - start + 1):
                piece, target = Piece(name, start, numel, 0, 2), torch.zeros(numel + 3)
                reader.copy(piece, target)
                expected = torch.nn.functional.pad(weights[start : start + numel], (2, 1))
                assert torch.equal(target, expected)
                reader.copy(piece, target, "exp_avg")
                assert torch.equal(target, 2 * expected)
    states = reader.fresh_states(torch.ones(5))
    assert states.keys() == {"exp_avg", "step"}
    assert float(states["step"]) == 3
    assert torch.equal(states["exp_avg"], torch.zeros(5))


def test_a_parameter_that_is_missing_is_an_error_not_zeros(tmp_path: Path) -> None:
    saved_by_zero_3(tmp_path, 2)
    reader = _Reader(read_parts(tmp_path))
    with pytest.raises(TrainingError, match="the checkpoint lacks 3 elements of other"):
        reader.copy(Piece("other", 0, 3, 0, 0), torch.zeros(3))
    with pytest.raises(TrainingError, match="the checkpoint lacks 1 elements of vector"):
        reader.copy(Piece("vector", 2, 3, 0, 0), torch.zeros(3))


def test_before_the_first_update_there_are_no_states(tmp_path: Path) -> None:
    saved_by_zero_2(tmp_path, 2, states={})
    assert _Reader(read_parts(tmp_path)).fresh_states(torch.ones(5)) == {}


def test_a_state_that_is_not_one_number_for_each_weight_cannot_be_divided(tmp_path: Path) -> None:
    saved_by_zero_2(tmp_path, 2, states={"blocks": torch.zeros(2)})
    with pytest.raises(TrainingError, match="blocks is not one number for each weight"):
        _Reader(read_parts(tmp_path))


def test_a_checkpoint_that_cannot_be_read_names_itself(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"{tmp_path}: cannot be read"):
        read_parts(tmp_path)
    (tmp_path / "zero_pp_rank_1_mp_rank_00_optim_states.pt").write_bytes(b"")
    with pytest.raises(TrainingError, match=f"{tmp_path}: cannot be read"):
        read_parts(tmp_path)
