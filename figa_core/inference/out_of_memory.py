"""Which setting to change when a vLLM process has ended because a memory was full.

The patterns are those of vLLM 0.32, PyTorch and the kernel.
"""

import re

_KILLED = -9
_NO_ROOM_FOR_CACHE = re.compile(
    r"No available memory for the cache blocks|larger than the available KV cache"
)
_TAKEN = re.compile(r"Free memory on device .* less than (?:desired|the engine)")
_DEVICE_FULL = re.compile(
    r"""(?:CUDA|HIP|XPU)\ out\ of\ memory
    | OutOfMemoryError
    | CUDA\ error:\ out\ of\ memory
    | Failed\ to\ load\ model\ -\ not\ enough""",
    re.VERBOSE,
)
_MACHINE_FULL = re.compile(
    r"less than desired CPU memory|DefaultCPUAllocator|Cannot allocate memory|^MemoryError|std::bad_alloc",
    re.MULTILINE,
)
_LENGTHS = {
    "generation": "generation.max_tokens or prompts.max_prompt_tokens",
    "reward": "reward.max_length",
}


def memory_advice(output: str, exit_code: int | None, section: str) -> str | None:
    """What to change, given the end of a process's output; None if no memory was full.

    Args:
        output: the last lines that it printed.
        exit_code: negative for a signal.
        section: of the settings, "generation" or "reward".
    """
    share, split = f"{section}.gpu_memory_share", f"{section}.vllm.tensor_parallel"
    fewer = f"{section}.vllm.data_parallel"
    if _NO_ROOM_FOR_CACHE.search(output):
        return (
            f"The memory has no room for one row beside the weights: lower {_LENGTHS[section]}; or raise "
            f"{share}, or {split}, which splits the model over more GPUs."
        )
    if _TAKEN.search(output):
        return (
            f"Something else uses this GPU's memory: lower {share} to what is free, or end the other process."
        )
    if _DEVICE_FULL.search(output):
        return (
            f"The GPU's memory is full: lower {share}. If the weights alone do not fit, raise {split}, which "
            "splits the model over more GPUs."
        )
    if _MACHINE_FULL.search(output):
        return f"The machine's memory is full: lower {fewer} or {share}, or set VLLM_CPU_KVCACHE_SPACE lower."
    if exit_code == _KILLED:
        return (
            "It was killed from outside, which the kernel does when the machine's memory is full: if so, "
            f"lower {fewer} or {share}."
        )
    return None
