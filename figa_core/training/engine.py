"""DeepSpeed around a Hugging Face model: ZeRO 1, 2 or 3, exact gradients.

Shapes: K weighted tokens, V vocabulary.
"""

import logging
import math
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from figa_core.errors import TrainingError
from figa_core.inference.checkpoint import checkpoint_dtype
from figa_core.training.attention import use_packed_attention
from figa_core.training.job import TrainingJob
from figa_core.training.lora import add_lora
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.model import WeightedTokenLogits, inputs_of, load_model, load_quantized, parameters_of
from figa_core.training.offload import OFFLOADED_NAME
from figa_core.training.optimizers import OptimizerFactory, optimizer_of, parameter_groups
from figa_core.training.partitioned import (
    load_partitioned,
    partitions_as_read,
    to_bfloat16,
    whole_while_running,
)
from figa_core.training.probe_plan import Size
from figa_core.training.recomputing import use_activation_checkpointing
from figa_core.training.repartition import read_parts, resume
from figa_core.training.saving import Deferred
from figa_core.training.sharing import in_words, reason_against
from figa_core.training.zero_stage import stage_in_use

# Elements. Larger gradients are reduced in place. At DeepSpeed's default (5e8) an embedding of 50 M is copied
# once more every micro-batch, which on a CPU costs as much as its share of the optimizer step.
_REDUCE_BUCKET = 20_000_000


def zero_config(job: TrainingJob) -> dict[str, Any]:
    """DeepSpeed's configuration of a job.

    The number of micro-batches varies from step to step, so `step()` ends a step, not DeepSpeed's counter
    (``managed_gradient_accumulation``).
    """
    ours: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "zero_optimization": {
            "stage": stage_in_use(job.training),
            "reduce_bucket_size": _REDUCE_BUCKET,
            "overlap_comm": False,
            "stage3_param_persistence_threshold": 10_000,
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": job.training.dtype == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "gradient_clipping": job.training.optimizer.gradient_norm_max or 0.0,
        "steps_per_print": 2**31 - 1,
    }
    theirs = job.training.deepspeed.model_dump(exclude_defaults=True)
    zero = {**ours["zero_optimization"], **theirs.pop("zero_optimization", {})}
    return {**theirs, **ours, "zero_optimization": zero}


@dataclass(frozen=True, slots=True)
class Update:
    """Whether a step updated the weights, and the gradient's norm if DeepSpeed reports it."""

    applied: bool
    grad_norm: float | None = None


class ZeroEngine:
    """One rank of a distributed training. Creating it joins the process group and loads the model.

    `packs` is whether sequences are packed: the job asks for it and the model can keep them apart. `shares`
    is whether packed sequences share their beginnings, `recomputes` whether activations are computed again in
    the backward pass. `attention` describes how, for the log. `stage` is the ZeRO stage in use, not always
    that of the job. `lora` are the model's updates, if only they are trained.
    """

    def __init__(self, job: TrainingJob, *, make_optimizer: OptimizerFactory | None = None) -> None:
        self.job = job
        self.device = own_device(int(os.environ.get("LOCAL_RANK", "0")), gpus=torch.cuda.device_count())
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        self._start_distributed()
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        config = zero_config(job)
        self.stage: int = config["zero_optimization"]["stage"]
        self._partitioned = partitions_as_read(config["zero_optimization"])
        if self._partitioned:
            self.model = load_partitioned(job.model, config, self.device)
        elif job.training.lora.quantize:
            self.model = load_quantized(job.model, job.training.dtype, self.device)
        else:
            self.model = load_model(job.model)
        self.lora = add_lora(self.model, job.training.lora, base=job.model, seed=job.training.seed)
        self.vocabulary: int = self.model.get_input_embeddings().num_embeddings
        self.max_positions: int | None = getattr(
            self.model.config.get_text_config(), "max_position_embeddings", None
        )
        with whole_while_running(self.model) if self._partitioned else nullcontext():
            self.packs = job.levers.packing and use_packed_attention(self.model)
            not_shared = reason_against(job.training.prefix_sharing, self.model, packs=self.packs)
        self.shares = not_shared is None
        self.attention = in_words(self.device, job.training.dtype, packs=self.packs, not_shared=not_shared)
        self.recomputes = use_activation_checkpointing(
            job.training.activation_checkpointing, self.model, self.device
        )
        import deepspeed

        module = WeightedTokenLogits(self.model, sparse_head=job.levers.sparse_head)
        settings = job.training.optimizer
        trained = (parameter for parameter in module.parameters() if parameter.requires_grad)
        groups = parameter_groups(trained, settings.weight_decay)
        optimizer = (make_optimizer or optimizer_of(settings))(groups, job.learning_rate)
        exact = self._weights_to_keep()
        self._engine: Any = deepspeed.initialize(model=module, optimizer=optimizer, config=config)[0]
        self._set_masters(exact)
        self._engine.train()

    def logits(self, batch: MicroBatch) -> torch.Tensor:
        """Logits (K, V) of the batch's weighted tokens."""
        return self._engine(*inputs_of(batch, self.device))

    @torch.no_grad()
    def logits_to_read(self, batch: MicroBatch) -> torch.Tensor:
        """`logits` without dropout and without a backward pass to follow; all ranks must call it."""
        self._engine.eval()
        try:
            return self.logits(batch)
        finally:
            self._engine.train()

    def size(self) -> Size:
        """The model's size, which is the same on all ranks."""
        head, embeddings = self.model.get_output_embeddings(), self.model.get_input_embeddings()
        tables = nn.ModuleList([each for each in (head, embeddings) if each is not None])
        body = max(parameters_of(self.model) - parameters_of(tables), 1)
        return Size(body=body, head=0 if head is None else parameters_of(head))

    def tensor(self, array: Any) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of this rank's part of a loss that is summed over ranks and micro-batches."""
        # DeepSpeed averages over the ranks, and we want the sum.
        self._engine.backward(loss * self.ranks, scale_wrt_gas=False)

    def step(self, learning_rate: float) -> Update:
        """Update the weights, unless DeepSpeed finds the gradient infinite; all ranks agree."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        norm, applied = self._engine.get_global_grad_norm(), self._engine.was_step_applied()
        if norm is None or not applied:
            return Update(applied)
        # DeepSpeed writes −1 for a norm that is not finite.
        return Update(applied, float(norm) if norm >= 0 else math.inf)

    def total(self, *values: float) -> list[float]:
        """Each value summed over all ranks."""
        totals = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(totals)
        return totals.tolist()

    def barrier(self) -> None:
        dist.barrier()

    def save_state(self, directory: Path, tag: str) -> list[Path]:
        """Write weights and optimizer state of all ranks below ``directory/tag``; returns this rank's files.

        Raises:
            UnwrittenFileError: a file of this rank cannot be written; all ranks have come to the end.
        """
        from deepspeed.checkpoint.ds_to_universal import dp_index_to_str

        engine: Any = self._engine
        writer = engine.checkpoint_engine
        engine.checkpoint_engine = deferred = Deferred(writer)
        # DeepSpeed's scripts to read its files would be copied by rank 0 alone, between two meetings, and
        # what a rank has on disk before the last one.
        engine._copy_recovery_script = lambda _path: None
        on_disk = engine.zero_nvme_offload_optimizer()
        engine.zero_nvme_offload_optimizer = lambda: False
        try:
            engine.save_checkpoint(
                str(directory),
                tag=tag,
                save_latest=False,
                exclude_frozen_parameters=self.lora is not None,  # the training's model has them
            )
        finally:
            engine.checkpoint_engine = writer
            del engine.zero_nvme_offload_optimizer
        if on_disk:
            source = Path(engine.optimizer.optimizer_swapper.swap_folder)
            deferred.copy(source, directory / tag / OFFLOADED_NAME / f"rank{dp_index_to_str(self.rank)}")
        deferred.check()
        return deferred.files

    def load_state(self, directory: Path, tag: str, *, same_layout: bool = True) -> None:
        """Read what `save_state` wrote, with the same ranks, ZeRO stage and dtype or with others.

        Raises:
            TrainingError: it cannot be read, or lacks something.
        """
        if not same_layout:
            resume(self._engine.optimizer, read_parts(directory / tag), rank=self.rank, ranks=self.ranks)
            return
        loaded, _ = self._engine.load_checkpoint(
            str(directory), tag=tag, load_module_strict=self.lora is None
        )
        if loaded is None:
            raise TrainingError(
                f"{directory / tag}: DeepSpeed cannot load this checkpoint. Remove it to start again."
            )

    def weight(self, name: str) -> torch.Tensor:
        """A weight or persistent buffer of the model, by its name in `state_dict`. All ranks must call it.

        It is on the CPU, whole on rank 0 and anything on the others. In bfloat16 it is the float32 master.
        """
        found = self.model.get_parameter_or_buffer(name)
        return self._gathered(found) if isinstance(found, nn.Parameter) else found.detach().cpu()

    def updates(self) -> dict[str, torch.Tensor]:
        """With LoRA the `weight` of each that is trained, by name; empty without. All ranks must call it."""
        if self.lora is None:
            return {}
        names = [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]
        return {name: self.weight(name) for name in names}

    def close(self) -> None:
        self._engine.destroy()
        dist.destroy_process_group()

    def _weights_to_keep(self) -> dict[str, torch.Tensor]:
        """Copies of the weights that bfloat16 would round, of this rank's parts of a partitioned model; empty
        if it would round none.
        """
        rounds = self.job.training.dtype not in ("float32", checkpoint_dtype(self.job.model))
        if self._partitioned and self.job.training.dtype == "bfloat16":
            return to_bfloat16(self.model, keep=rounds)
        named = self.model.named_parameters() if rounds else ()
        return {name: parameter.detach().clone() for name, parameter in named if parameter.requires_grad}

    def _set_masters(self, exact: dict[str, torch.Tensor]) -> None:
        """Replace the optimizer's float32 masters, which DeepSpeed makes of the rounded weights, by the exact
        weights. So the trained model differs from its base by what it learned alone.
        """
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        for name, parameter in self.model.named_parameters():
            if name not in exact:
                continue
            weight = exact.pop(name).to(self.device)
            if hasattr(parameter, "ds_id"):  # ZeRO-3, whose setter does not pad
                size: int = parameter.partition_numel()  # pyright: ignore[reportCallIssue]
                part = weight.flatten()
                if len(part) != size:  # a whole weight
                    part = part[size * self.rank : size * (self.rank + 1)]
                safe_set_local_fp32_param(parameter, nn.functional.pad(part, (0, size - len(part))))
            else:
                safe_set_full_fp32_param(parameter, weight)

    def _gathered(self, parameter: nn.Parameter) -> torch.Tensor:
        """One parameter, gathered from all ranks; may be empty except on rank 0."""
        import deepspeed
        from deepspeed.utils import safe_get_full_fp32_param

        if self.job.training.dtype != "float32":
            master = safe_get_full_fp32_param(parameter)
            if master is not None:
                return master.detach().cpu() if self.rank == 0 else torch.zeros(0)
        if self.job.training.zero_stage == 3:
            with deepspeed.zero.GatheredParameters([parameter]):
                return parameter.detach().cpu().clone() if self.rank == 0 else torch.zeros(0)
        return parameter.detach().cpu()

    def _start_distributed(self) -> None:
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        import deepspeed
        import deepspeed.comm
        from deepspeed import ops

        if self.device.type != "cuda":
            # Only inference uses it, and compiling it takes a compiler and a minute. The switch is private.
            compatible: Any = getattr(ops, "__compatible_ops__", None)
            if isinstance(compatible, dict):
                compatible["deepspeed_shm_comm"] = False
        deepspeed.comm.init_distributed("nccl" if self.device.type == "cuda" else "gloo", verbose=False)


def own_device(local_rank: int, *, gpus: int) -> torch.device:
    """The GPU of a rank on this machine, which has `gpus` of them; the CPU if it has none.

    Raises:
        TrainingError: the machine has fewer GPUs than ranks.
    """
    if gpus == 0:
        return torch.device("cpu")
    if local_rank >= gpus:
        raise TrainingError(
            f"there is no GPU for rank {local_rank}: this machine shows {gpus}, and each rank needs one. Set "
            f"training.processes to {gpus}, or name more GPUs in CUDA_VISIBLE_DEVICES. To train on the CPU, "
            "set CUDA_VISIBLE_DEVICES to nothing."
        )
    return torch.device("cuda", local_rank)
