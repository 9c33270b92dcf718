"""Puts a checkpoint of other ranks, another ZeRO stage or another dtype into the ranks that resume it.

In DeepSpeed 0.19 a rank has a few flat float32 tensors of weights, one for each group of parameters (ZeRO 1
and 2) or for each part of a group (ZeRO-3), and beside each the optimizer's states of the same length. ZeRO 1
and 2 cut a whole group into as many parts as there are ranks, ZeRO-3 each parameter. So a parameter is known
by its name in any layout, and a rank finds its pieces in the files of all ranks, which are mapped, not read.

DeepSpeed's own way (`ds_to_universal`, then `load_universal`) is not used. It writes two more copies of the
state to the disk; what it makes of ZeRO 1 and 2 cannot be loaded by ZeRO-3 or the other way round; and
ZeRO-3 gives all groups the weight decay of the first.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from figa_core.errors import TrainingError
from figa_core.training.eight_bit import Coded, decoded, encoded

_RANK = re.compile(r"zero_pp_rank_(\d+)_mp_rank_00_optim_states\.pt$")


class Piece(NamedTuple):
    """`numel` elements of a parameter from `start` on, which a rank has in its flat tensor `flat` at `at`."""

    name: str
    start: int
    numel: int
    flat: int
    at: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one rank has: for each flat tensor its float32 `weights`, and the optimizer's `states` by name."""

    weights: list[torch.Tensor]
    states: list[dict[str, Any]]
    pieces: list[Piece]


def read_parts(checkpoint: Path) -> list[Part]:
    """The parts of all ranks that wrote a checkpoint, mapped from its files.

    Raises:
        TrainingError: it has no file that can be read.
    """
    files = {
        int(found[1]): path for path in checkpoint.iterdir() if (found := _RANK.search(path.name)) is not None
    }
    try:
        saved = [_mapped(files[rank])["optimizer_state_dict"] for rank in range(len(files))]
        if "param_slice_mappings" in saved[0]:
            return list(_of_groups(saved))
        shapes = _mapped(next(checkpoint.glob("*zero_pp_rank_0_mp_rank_00_model_states.pt")))["param_shapes"]
    except (OSError, RuntimeError, LookupError, StopIteration) as error:
        raise TrainingError(
            f"{checkpoint}: cannot be read ({error!r}). Remove it to go on from the one before."
        ) from error
    return [_of_parameters(state, shapes, rank, len(saved)) for rank, state in enumerate(saved)]


def resume(zero: Any, parts: list[Part], *, rank: int, ranks: int) -> None:
    """Give this rank its weights and optimizer states; `zero` is DeepSpeed's optimizer. All ranks call it.

    Raises:
        TrainingError: the checkpoint lacks a parameter, or an optimizer state cannot be divided.
    """
    before = getattr(zero, "checkpoint_event_prologue", None)
    if before is not None:
        before()  # ZeRO-3 frees what it has gathered
    flats, pieces = _flats_of(zero), list(_pieces_of(zero, rank))
    reader = _Reader(parts)
    for piece in pieces:
        reader.copy(piece, flats[piece.flat])
    states = {flat: reader.fresh_states(tensor) for flat, tensor in enumerate(flats)}
    for piece in pieces:
        for key in reader.divided:
            reader.copy(piece, states[piece.flat][key], key)
    own = zero.state_dict()
    _base_state(own)["state"] = {flat: encoded(state) for flat, state in states.items()}
    every: list[Any] = [None] * ranks
    every[rank] = own
    zero.load_state_dict(state_dict_list=every, load_optimizer_states=True, load_from_fp32_weights=True)
    if before is not None:
        zero.checkpoint_event_epilogue()
    else:
        zero.update_lp_params()


class _Reader:
    """Finds pieces of parameters in the parts of a checkpoint."""

    def __init__(self, parts: list[Part]) -> None:
        self._where: Mapping[str, list[tuple[Part, Piece]]] = defaultdict(list)
        for part in parts:
            for piece in part.pieces:
                self._where[piece.name].append((part, piece))
        first = parts[0].states[0]
        self.divided = [key for key, value in first.items() if _is_divided(value)]
        self._same = {key: value for key, value in first.items() if not _is_divided(value)}
        for part in parts:
            for weights, states in zip(part.weights, part.states, strict=True):
                _check(weights, states, self.divided)

    def fresh_states(self, flat: torch.Tensor) -> dict[str, Any]:
        """States for a flat tensor: zeros where they are divided, and what is the same for all, as it is."""
        zeros = {key: torch.zeros_like(flat, requires_grad=False) for key in self.divided}
        return {**zeros, **deepcopy(self._same)}

    @torch.no_grad()
    def copy(self, wanted: Piece, target: torch.Tensor, key: str | None = None) -> None:
        """Fill a piece of `target` with the weights, or the optimizer's states of this name."""
        end, missing = wanted.start + wanted.numel, wanted.numel
        for part, piece in self._where.get(wanted.name, ()):
            begin, stop = max(wanted.start, piece.start), min(end, piece.start + piece.numel)
            if begin < stop:
                source = part.weights[piece.flat] if key is None else part.states[piece.flat][key]
                found = source.narrow(0, piece.at + begin - piece.start, stop - begin)
                target.narrow(0, wanted.at + begin - wanted.start, stop - begin).copy_(found)
                missing -= stop - begin
        if missing:
            raise TrainingError(
                f"the checkpoint lacks {missing:,} elements of {wanted.name}. Remove it to go on from the "
                "one before."
            )


def _is_divided(value: Any) -> bool:
    return isinstance(value, Coded) or (torch.is_tensor(value) and value.dim() > 0)


def _check(weights: torch.Tensor, states: Mapping[str, Any], divided: list[str]) -> None:
    for key in divided:
        if len(states[key]) < len(weights):
            raise TrainingError(
                f"the optimizer's state {key} is not one number for each weight, so the checkpoint resumes "
                "only with the ranks, ZeRO stage and dtype that it was written with."
            )


def _of_groups(saved: list[dict[str, Any]]) -> Iterator[Part]:
    """Parts of ZeRO 1 and 2, in which a parameter goes on from one rank to the next."""
    done: dict[str, int] = defaultdict(int)
    for state in saved:
        pieces: list[Piece] = []
        for flat, mapping in enumerate(state["param_slice_mappings"]):
            for name, place in mapping.items():
                pieces.append(Piece(name, done[name], place.numel, flat, place.start))
                done[name] += place.numel
        yield _part(state, state["single_partition_of_fp32_groups"], pieces)


def _of_parameters(state: dict[str, Any], shapes: list[dict[str, torch.Size]], rank: int, ranks: int) -> Part:
    """A part of ZeRO-3, which has an equal share of each parameter; the last ranks' are filled up."""
    pieces: list[Piece] = []
    for flat, of_flat in enumerate(shapes):
        at = 0
        for name, shape in of_flat.items():
            share = -(-shape.numel() // ranks)
            pieces += _share(name, shape.numel(), share, rank, flat, at)
            at += share
    return _part(state, state["fp32_flat_groups"], pieces)


def _share(name: str, numel: int, share: int, rank: int, flat: int, at: int) -> list[Piece]:
    filled = min(share, numel - rank * share)
    return [Piece(name, rank * share, filled, flat, at)] if filled > 0 else []


def _part(state: dict[str, Any], weights: list[torch.Tensor], pieces: list[Piece]) -> Part:
    states = _base_state(state)["state"]  # empty before the first update
    return Part(weights, [decoded(states.get(flat, {})) for flat in range(len(weights))], pieces)


def _base_state(state: dict[str, Any]) -> dict[str, Any]:
    """The state of the optimizer within DeepSpeed's."""
    return state["base_optimizer_state" if "base_optimizer_state" in state else "optimizer_state_dict"]


def _flats_of(zero: Any) -> list[torch.Tensor]:
    """This rank's flat float32 tensors."""
    for name in (
        "single_partition_of_fp32_groups",  # ZeRO 1 and 2
        "fp32_groups_flat_partition",  # ZeRO-1 in bfloat16
        "fp32_partitioned_groups_flat",  # ZeRO-3
    ):
        if (found := getattr(zero, name, None)) is not None:
            return found
    raise TrainingError(f"{type(zero).__name__}: this optimizer of DeepSpeed is not known here.")


def _pieces_of(zero: Any, rank: int) -> Iterator[Piece]:
    """The pieces of parameters that this rank has."""
    if hasattr(zero, "fp32_partitioned_groups_flat"):
        for flat, group in enumerate(zero.fp16_groups):
            at = 0
            for parameter in group:
                share = parameter.partition_numel()
                yield from _share(zero.param_names[parameter], parameter.ds_numel, share, rank, flat, at)
                at += share
        return
    groups = zero.bf16_groups if hasattr(zero, "bf16_groups") else zero.bit16_groups
    for flat, group in enumerate(groups):
        for parameter in group:
            if (mapping := parameter._hp_mapping) is not None:
                here, within = mapping.hp_fragment_address, mapping.lp_fragment_address
                yield Piece(zero.param_names[parameter], within.start, here.numel, flat, here.start)


def _mapped(path: Path) -> dict[str, Any]:
    # DeepSpeed's files hold objects of its classes. Their hashes were compared with those at their writing.
    return torch.load(path, map_location="cpu", mmap=True, weights_only=False)
