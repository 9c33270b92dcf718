"""How the local vLLM uses the GPUs: `[generation.vllm]` and `[reward.vllm]`."""

from typing import Annotated

from pydantic import Field

from figa_core.config.decisions import nothing
from figa_core.config.section import Section


class VllmConfig(Section):
    """Copies of a model on this machine's GPUs. None of it changes what is drawn or scored."""

    tensor_parallel: Annotated[int, Field(ge=1, le=64)] = nothing(
        1, "GPUs over which one copy of the model is split; more for a model that does not fit on one."
    )
    data_parallel: Annotated[int, Field(ge=1, le=64)] | None = nothing(
        None, 'Copies that work side by side; "none" for as many as the visible GPUs have room for, 1 on CPU.'
    )
