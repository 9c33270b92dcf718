"""What is said about a full memory, by the words of vLLM 0.32 and PyTorch."""

import pytest

from figa_core.inference.out_of_memory import memory_advice

DEVICE = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity"
CACHE = (
    "ValueError: To serve at least one request with the model's max seq len (4096), (2.0 GiB KV cache is "
    "needed, which is larger than the available KV cache memory (1.0 GiB). Try increasing "
)
NO_CACHE = (
    "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when"
)
TAKEN = (
    "ValueError: Free memory on device cuda:0 (3.1/139.8 GiB) on startup is less than desired GPU memory "
    "utilization (0.9, 125.8 GiB). Decrease GPU memory utilization"
)
MACHINE = "ValueError: Available memory on node 0 (3.0/8.0 GiB) on startup is less than desired CPU memory"


@pytest.mark.parametrize(
    ("output", "settings"),
    [
        (DEVICE, ["lower generation.gpu_memory_share", "raise generation.vllm.tensor_parallel"]),
        (CACHE, ["lower generation.max_tokens or prompts.max_prompt_tokens", "raise generation.gpu_mem"]),
        (NO_CACHE, ["lower generation.max_tokens or prompts.max_prompt_tokens"]),
        (TAKEN, ["lower generation.gpu_memory_share", "end the other process"]),
        (MACHINE, ["lower generation.vllm.data_parallel or generation.gpu_memory_share"]),
    ],
)
def test_each_kind_of_full_memory_has_its_setting(output: str, settings: list[str]) -> None:
    advice = memory_advice(f"INFO start\n{output}\nTraceback\n", 1, "generation")
    assert advice is not None
    assert all(each in advice for each in settings), advice


def test_a_reward_models_settings_are_its_own() -> None:
    assert "lower reward.max_length" in str(memory_advice(CACHE, 1, "reward"))


def test_a_killed_process_may_have_been_the_kernels_victim() -> None:
    assert "lower reward.vllm.data_parallel" in str(memory_advice("", -9, "reward"))


def test_another_error_has_no_such_advice() -> None:
    assert memory_advice("ValueError: NobodysModel is not supported", 1, "generation") is None
