"""Command line and environment of a vLLM server that serves a model as the engines here would load it."""

from dataclasses import dataclass
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.inference.checkpoint import checkpoint_dtype
from figa_core.inference.vllm_process import CPU_ENVIRONMENT, ENVIRONMENT
from figa_core.models.adapter import is_adapter, settings_of

LORA_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM has room for; an adapter of another rank gets the next higher one."""
ROOM_FOR_RANK = 64
"""For adapters of usual ranks, if nobody knows which will come."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A server's model and options.

    Attributes:
        model: directory of a whole model.
        port, host: where it listens.
        rates: whether it is a reward model.
        name: under which it serves the model.
        max_length: the most tokens of a row; None for what the model allows.
        gpu_memory_share: of each GPU.
        tensor_parallel: GPUs over which the model is split.
        lora_rank: the largest rank of adapters that can be loaded into it; None for none.
        on_cpu: whether it is vLLM's build for CPUs.
    """

    model: Path
    port: int
    rates: bool = False
    host: str = "127.0.0.1"
    name: str | None = None
    max_length: int | None = None
    gpu_memory_share: float = 0.9
    tensor_parallel: int = 1
    lora_rank: int | None = None
    on_cpu: bool = False

    def command(self, python: Path) -> list[str]:
        """For `vllm_server`, by the interpreter of vLLM's environment."""
        options: list[object] = ["--model", self.model, "--host", self.host, "--port", self.port]
        options += ["--dtype", checkpoint_dtype(self.model), "--generation-config", "vllm"]
        options += ["--gpu-memory-utilization", self.gpu_memory_share]
        options += ["--tensor-parallel-size", self.tensor_parallel, "--uvicorn-log-level", "warning"]
        options += ["--middleware", "figa_core.inference.vllm_key.RequireKey"]
        if self.name is not None:
            options += ["--served-model-name", self.name]
        if self.max_length is not None:
            options += ["--max-model-len", self.max_length]
        if self.rates:
            options += ["--runner", "pooling", "--convert", "classify"]
        if self.lora_rank is not None:
            options += ["--enable-lora", "--max-lora-rank", self.lora_rank]
        if self.on_cpu:  # see `vllm_worker`
            tokens = max(self.max_length or 0, 16_384)
            options += ["--enforce-eager", "--no-enable-chunked-prefill", "--max-num-seqs", 1024]
            options += ["--max-num-batched-tokens", tokens]
        return [str(python), "-m", "figa_core.inference.vllm_server", *map(str, options)]

    def environment(self) -> dict[str, str]:
        """What the server needs in its environment besides this process's."""
        # It always has a process for its engine, whatever the variable for the local engine says.
        needed = {**ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
        if self.on_cpu:
            needed |= CPU_ENVIRONMENT
        if self.lora_rank is not None:
            needed["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        return needed


def lora_rank_of(model: Path, to_come: int | None = ROOM_FOR_RANK) -> int | None:
    """The rank to start a server with: the model's own if it is an adapter, and that of others to come.

    None if there is no adapter and none will come: vLLM has no LoRA for some models, and it takes memory and
    time. Adapters to come that are too large do not count: they are refused when they are there.
    Raises EngineError if vLLM has no rank so high as the model's.
    """
    others = to_come if to_come is not None and to_come <= LORA_RANKS[-1] else 0
    wanted = max(rank_of(model) if is_adapter(model) else 0, others)
    if wanted == 0:
        return None
    if wanted > LORA_RANKS[-1]:
        raise EngineError(
            f"{model}: its rank is {wanted}, and vLLM serves adapters up to {LORA_RANKS[-1]}. Set "
            'generation.engine = "vllm", which merges it into its base.'
        )
    return room_for(wanted)


def room_for(rank: int) -> int:
    """The rank to start a server with for adapters up to this one, at most the last of `LORA_RANKS`."""
    return next(room for room in LORA_RANKS if room >= rank)


def rank_of(adapter: Path) -> int:
    """The largest rank in an adapter."""
    settings = settings_of(adapter)
    pattern = settings.get("rank_pattern") or {}
    return max([int(settings.get("r", 0)), *map(int, pattern.values())])
