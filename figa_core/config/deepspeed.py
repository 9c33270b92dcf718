"""`[training.deepspeed]`: what a user may add to DeepSpeed's configuration.

Only what is known to leave the loss and the update alone can be given: another key is an unknown setting, and
the keys of `zero_optimization` that change them, or that other settings decide, are refused by name.
"""

from typing import Annotated, Any

from pydantic import AfterValidator

from figa_core.config.decisions import nothing
from figa_core.config.section import Section

_REFUSED = {
    "stage": "training.zero_stage decides it",
    "overlap_comm": "gradients that are still on their way would be read",
    "contiguous_gradients": "the gradient of a step is summed over several backward passes",
    "reduce_scatter": "the gradient of a step is summed over several backward passes",
    "round_robin_gradients": "the gradient of a step is summed over several backward passes",
    "zero_quantized_weights": "the model would compute with rounded weights",
    "zero_quantized_nontrainable_weights": "the model would compute with rounded weights",
    "zero_quantized_gradients": "gradients would be rounded",
    "loco_param": "gradients would be rounded",
    "ignore_unused_parameters": "a parameter without a gradient would go unnoticed",
    "legacy_stage1": "its gradients have other sums",
    "elastic_checkpoint": "the training's own checkpoints decide what can be resumed",
    "load_from_fp32_weights": "the training's own checkpoints decide what can be resumed",
    "zenflow": "it updates some weights later than others",
    "compute_grad_norm": "a gradient that is not finite would go unnoticed",
}
_ALLOWED = (
    "offload_optimizer",
    "offload_param",
    "sub_group_size",
    "reduce_bucket_size",
    "allgather_bucket_size",
    "allgather_partitions",
    "use_multi_rank_bucket_allreduce",
    "zero_hpz_partition_size",
    "stage3_prefetch_bucket_size",
    "stage3_param_persistence_threshold",
    "stage3_model_persistence_threshold",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_module_granularity_threshold",
    "stage3_use_all_reduce_for_fetch_params",
    "stage3_allgather_sequential",
    "memory_efficient_linear",
    "enable_sanity_checks",
    "log_trace_cache_warnings",
)

_DEVICES = ("cpu", "nvme", "none")


def _leaves_the_loss_alone(settings: dict[str, Any]) -> dict[str, Any]:
    wrong = {name: _REFUSED.get(name, "not known here") for name in settings if name not in _ALLOWED}
    if wrong:
        named = "; ".join(f"{name} ({why})" for name, why in wrong.items())
        raise ValueError(f"these keys cannot be set: {named}. These can: {', '.join(_ALLOWED)}")
    for name in ("offload_optimizer", "offload_param"):
        offload = settings.get(name) or {}
        if not isinstance(offload, dict) or offload.get("device", "none") not in _DEVICES:
            raise ValueError(
                f"{name}: {offload!r} names no place. Write a table with a device of {', '.join(_DEVICES)}, "
                'such as { device = "cpu" }'
            )
    return settings


class DeepSpeedConfig(Section):
    """Keys of DeepSpeed's configuration that are added to ours."""

    zero_optimization: Annotated[dict[str, Any], AfterValidator(_leaves_the_loss_alone)] = nothing(
        {},
        "Such as offload_optimizer and offload_param (device, nvme_path), and sizes of buckets; as in "
        "DeepSpeed's documentation.",
    )
    aio: dict[str, Any] = nothing({}, "Reading and writing of an offload to disk.")
    comms_logger: dict[str, Any] = nothing({}, "A log of the communication.")
    flops_profiler: dict[str, Any] = nothing({}, "A profile of the model's operations.")
    wall_clock_breakdown: bool = nothing(False, "Log the times of the parts of a step.")
    memory_breakdown: bool = nothing(False, "Log the memory of the parts of a step.")
