"""How many copies of a model vLLM runs on this machine, and on which of its GPUs each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from figa_core.errors import EngineError

_DEVICES = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of a model: `data_parallel` of them (None: as many as fit), each split over `tensor_parallel`
    GPUs. `section`: of the configuration, for messages.
    """

    tensor_parallel: int = 1
    data_parallel: int | None = None
    section: str = "generation.vllm"


AS_MANY_AS_FIT = Copies()


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """Where one copy runs: its name for people, and what its environment has more than this process's."""

    name: str = "vLLM"
    environment: Mapping[str, str] = field(default_factory=dict)


def places_of(copies: Copies, gpus: Sequence[str] | None) -> list[CopyPlace]:
    """The places of the copies.

    Args:
        copies: what the settings ask for.
        gpus: the GPUs that may be used, as CUDA_VISIBLE_DEVICES names them. Empty if they cannot be told
            apart: then there is one copy. None if vLLM runs on the CPU.

    Raises EngineError if there are fewer GPUs than the settings ask for, or none and they ask for some.
    """
    tensor, wanted = copies.tensor_parallel, copies.data_parallel
    if gpus is None:
        if tensor > 1:
            raise EngineError(
                f"{copies.section}.tensor_parallel = {tensor} splits a model over GPUs, and vLLM has none "
                f"here. Set it to 1; {copies.section}.data_parallel runs several copies on a CPU."
            )
        return [CopyPlace(_name(number, wanted or 1)) for number in range(1, (wanted or 1) + 1)]
    if not gpus and (wanted or 1) == 1:
        return [CopyPlace()]
    room = len(gpus) // tensor
    if room < (wanted or 1):
        raise EngineError(_too_few(copies, len(gpus)))
    if wanted == 1 or room == 1:  # the first of the visible GPUs
        return [CopyPlace()]
    groups = [",".join(gpus[n * tensor : (n + 1) * tensor]) for n in range(wanted or room)]
    return [
        CopyPlace(f"{_name(number, len(groups))} (GPU {group})", {_DEVICES: group})
        for number, group in enumerate(groups, 1)
    ]


def _name(number: int, of: int) -> str:
    return "vLLM" if of == 1 else f"copy {number} of vLLM"


def _too_few(copies: Copies, gpus: int) -> str:
    section, tensor, data = copies.section, copies.tensor_parallel, copies.data_parallel or 1
    return (
        f"{section} asks for {tensor * data} GPUs (data_parallel = {data}, tensor_parallel = {tensor}), and "
        f"{gpus or 'an unknown number'} can be used here ({_DEVICES} names those that may be). Lower them; "
        f'data_parallel = "none" makes as many copies as fit.'
    )
