"""The states of bitsandbytes' 8-bit AdamW, which are not one number for each weight (arXiv 2110.02861).

Both moments of 256 weights at a time are kept as codes of one byte, with the largest of the block; a tensor
of less than 4,096 weights has moments in float32. A checkpoint that is divided anew gets other blocks, so its
moments are rounded once more.
"""

from typing import Any, NamedTuple

import torch

_NESTED = "__bnb_optimizer_quant_state__"  # where `state_dict` of bitsandbytes puts them
_BLOCK = 256
_LEAST = 4096
_SIGNED = {"state1": True, "state2": False}  # the mean of the gradients, and that of their squares


class Coded(NamedTuple):
    """A state as it is stored: N codes, the 256 values that they stand for, and a factor for each block."""

    codes_N: torch.Tensor
    values: torch.Tensor
    largest: torch.Tensor

    def __len__(self) -> int:
        return len(self.codes_N)

    def narrow(self, _dimension: int, start: int, length: int) -> torch.Tensor:
        """Some of its numbers, in float32."""
        codes = self.codes_N.narrow(0, start, length).long()
        blocks = torch.arange(start, start + length) // _BLOCK
        return self.values[codes] * self.largest[blocks]


def decoded(state: dict[str, Any]) -> dict[str, Any]:
    """The states of a tensor, of any optimizer, with those of 8 bits as `Coded`."""
    stored = {**state, **state.get(_NESTED, {})}
    found = {name: value for name, value in stored.items() if name != _NESTED}
    for name in _SIGNED:
        if name in found and found[name].dtype == torch.uint8:
            number = name[-1]
            found[name] = Coded(found[name], found.pop(f"qmap{number}"), found.pop(f"absmax{number}"))
    return found


def encoded(state: dict[str, Any]) -> dict[str, Any]:
    """The states as their optimizer keeps them, from numbers in float32; those of others unchanged."""
    if not all(name in state and len(state[name]) >= _LEAST for name in _SIGNED):
        return state
    from bitsandbytes import functional

    found = dict(state)
    for name, signed in _SIGNED.items():
        values = functional.create_dynamic_map(signed=signed).to(state[name].device)
        codes, how = functional.quantize_blockwise(state[name], code=values, blocksize=_BLOCK)
        number = name[-1]
        found |= {name: codes, f"qmap{number}": values, f"absmax{number}": how.absmax}
    return found
