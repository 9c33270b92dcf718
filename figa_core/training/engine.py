"""DeepSpeed around a Hugging Face model: ZeRO 1, 2 or 3, exact gradients, constant learning rate.

Shapes: B rows, T tokens of a row, D hidden size, K weighted tokens, V vocabulary.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from figa_core.config.training import DType
from figa_core.errors import TrainingError
from figa_core.inference.checkpoint import checkpoint_dtype
from figa_core.training import varlen
from figa_core.training.attention import use_packed_attention
from figa_core.training.batches import MicroBatch
from figa_core.training.job import TrainingJob

# Elements. Larger gradients are reduced where they lie; at DeepSpeed's default (5e8) an embedding of 50 M is
# copied once more every micro-batch, which on a CPU costs as much as its share of the optimizer step.
_REDUCE_BUCKET = 20_000_000

OptimizerFactory = Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]


def adamw(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """torch's AdamW without weight decay: DeepSpeed's own would be compiled for minutes first."""
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0, fused=True)


class WeightedTokenLogits(nn.Module):
    """A causal language model that answers with the logits of chosen positions only: the sparse head.

    The choice is made on the input of the model's own output projection, so that whatever the architecture
    does around it (scaling, soft-capping, tied embeddings, ZeRO-3 gathering the weight) stays as it is.
    """

    def __init__(self, model: Any, *, sparse_head: bool) -> None:
        super().__init__()
        self.model = model
        head = model.get_output_embeddings()
        self._sparse_head = sparse_head and head is not None
        self._rows_K = self._columns_K = torch.zeros(0, dtype=torch.long)
        if head is not None and sparse_head:
            head.register_forward_pre_hook(self._choose)

    def forward(
        self,
        ids_BT: torch.Tensor,
        rows_K: torch.Tensor,
        columns_K: torch.Tensor,
        position_ids_BT: torch.Tensor | None = None,
        piece_lengths: tuple[int, ...] | None = None,
    ) -> torch.Tensor:
        """Logits (K, V) at ``(rows_K, columns_K)``."""
        self._rows_K, self._columns_K = rows_K, columns_K
        # No attention mask, and no cache: either would let a packed sequence see its neighbour.
        packed = {} if piece_lengths is None else {"piece_lengths": piece_lengths}
        output = self.model(input_ids=ids_BT, position_ids=position_ids_BT, use_cache=False, **packed)
        if self._sparse_head:
            return output.logits[0]
        return output.logits[rows_K, columns_K]

    def _choose(self, _module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden_BTD, *rest = arguments
        return (hidden_BTD[self._rows_K, self._columns_K][None], *rest)


def zero_config(job: TrainingJob) -> dict[str, Any]:
    """DeepSpeed's configuration of a job.

    The number of micro-batches varies from step to step, so `step()` and not DeepSpeed's own counter says
    where a step ends (``managed_gradient_accumulation``).
    """
    # One rank has nothing to partition, and stage 2 would copy every gradient once a micro-batch for it. Not
    # in bf16, where DeepSpeed's stage 1 is another optimizer.
    alone = job.training.processes == 1 and job.training.dtype == "float32"
    stage = 1 if alone and job.training.zero_stage == 2 else job.training.zero_stage
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "zero_optimization": {
            "stage": stage,
            "reduce_bucket_size": _REDUCE_BUCKET,
            "overlap_comm": False,
            "contiguous_gradients": True,
            "stage3_param_persistence_threshold": 10_000,
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": job.training.dtype == "bfloat16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "gradient_clipping": 0.0,
        "steps_per_print": 2**31 - 1,
        "wall_clock_breakdown": False,
    }


@dataclass(frozen=True, slots=True)
class Update:
    """What became of a step: whether weights were updated, and the gradient's norm where DeepSpeed tells."""

    applied: bool
    grad_norm: float | None = None


class ZeroEngine:
    """One rank of a distributed training. Creating it joins the process group and loads the model.

    `packs` says whether sequences are packed: the job asks for it and the model can keep them apart;
    `attention` how, in words. `stage` is the ZeRO stage that runs, which is not always the job's.
    """

    def __init__(self, job: TrainingJob, *, make_optimizer: OptimizerFactory = adamw) -> None:
        self.job = job
        self.device = own_device(int(os.environ.get("LOCAL_RANK", "0")), gpus=torch.cuda.device_count())
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        self._start_distributed()
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self.model = load_model(job.model)
        self.vocabulary: int = self.model.get_input_embeddings().num_embeddings
        self.max_positions: int | None = getattr(
            self.model.config.get_text_config(), "max_position_embeddings", None
        )
        self.packs = job.levers.packing and use_packed_attention(self.model)
        self.attention = _attention(self.device, job.training.dtype, packs=self.packs)
        import deepspeed

        module = WeightedTokenLogits(self.model, sparse_head=job.levers.sparse_head)
        optimizer = make_optimizer(module.parameters(), job.training.learning_rate)
        config = zero_config(job)
        self.stage: int = config["zero_optimization"]["stage"]
        exact = self._weights_to_keep()
        self._engine: Any = deepspeed.initialize(model=module, optimizer=optimizer, config=config)[0]
        self._set_masters(exact)
        self._engine.train()

    def logits(self, batch: MicroBatch) -> torch.Tensor:
        """Logits (K, V) of the batch's weighted tokens."""
        position_ids_BT = None if batch.position_ids_BT is None else self.tensor(batch.position_ids_BT)
        return self._engine(
            self.tensor(batch.ids_BT),
            self.tensor(batch.rows_K),
            self.tensor(batch.columns_K),
            position_ids_BT,
            batch.piece_lengths,
        )

    def tensor(self, array: Any) -> torch.Tensor:
        """A numpy array on this rank's device."""
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of this rank's part of a loss that is summed over ranks and micro-batches."""
        # DeepSpeed averages over the ranks; what we want is their sum.
        self._engine.backward(loss * self.ranks, scale_wrt_gas=False)

    def step(self) -> Update:
        """Update the weights, unless DeepSpeed finds the gradient infinite; the same on every rank."""
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        if not self._engine.was_step_applied():
            return Update(applied=False)
        if norm is None:
            return Update(applied=True)
        # DeepSpeed writes −1 for a norm that is not finite.
        return Update(applied=True, grad_norm=float(norm) if norm >= 0 else math.inf)

    def total(self, *values: float) -> list[float]:
        """Each value summed over all ranks."""
        totals = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(totals)
        return totals.tolist()

    def barrier(self) -> None:
        """Wait for all ranks."""
        dist.barrier()

    def save_state(self, directory: Path, tag: str) -> None:
        """Write weights and optimizer state of all ranks below ``directory/tag``."""
        self._engine.save_checkpoint(str(directory), tag=tag, save_latest=False)

    def load_state(self, directory: Path, tag: str) -> None:
        """Read what `save_state` wrote with as many ranks."""
        loaded, _ = self._engine.load_checkpoint(str(directory), tag=tag)
        if loaded is None:
            raise TrainingError(
                f"{directory / tag}: DeepSpeed cannot load this checkpoint. Remove it to start anew."
            )

    def state_dict(self) -> dict[str, torch.Tensor] | None:
        """The model's whole weights on the CPU, on rank 0; None elsewhere. All ranks must call it.

        In bfloat16 these are the optimizer's float32 masters; tied weights are one tensor under each name.
        """
        state: dict[str, torch.Tensor] = {}
        whole: dict[int, torch.Tensor] = {}
        # One parameter at a time: the whole model need not fit on one device.
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            if id(parameter) not in whole:
                whole[id(parameter)] = self._whole(parameter)
            state[name] = whole[id(parameter)]
        if self.rank != 0:
            return None
        persistent = self.model.state_dict().keys()
        return state | {
            name: b.detach().cpu() for name, b in self.model.named_buffers() if name in persistent
        }

    def close(self) -> None:
        """Leave the process group."""
        self._engine.destroy()
        dist.destroy_process_group()

    def _weights_to_keep(self) -> dict[str, torch.Tensor]:
        """The weights that bfloat16 would round, none where it would not."""
        if (
            self.job.training.dtype == "float32"
            or checkpoint_dtype(self.job.model) == self.job.training.dtype
        ):
            return {}
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def _set_masters(self, exact: dict[str, torch.Tensor]) -> None:
        """DeepSpeed takes the optimizer's float32 masters from the rounded weights: give them the exact ones,
        so that the model differs from its base by what was learned alone.
        """
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        for name, parameter in self.model.named_parameters():
            if name not in exact:
                continue
            whole = exact.pop(name).to(self.device)
            if hasattr(parameter, "ds_id"):  # ZeRO-3; its own setter knows no padding
                size: int = parameter.partition_numel()  # pyright: ignore[reportCallIssue]
                own = whole.flatten()[size * self.rank : size * (self.rank + 1)]
                safe_set_local_fp32_param(parameter, nn.functional.pad(own, (0, size - len(own))))
            else:
                safe_set_full_fp32_param(parameter, whole)

    def _whole(self, parameter: nn.Parameter) -> torch.Tensor:
        """One parameter, gathered from all ranks; empty where rank 0 needs nothing of it."""
        import deepspeed
        from deepspeed.utils import safe_get_full_fp32_param

        if self.job.training.dtype != "float32":
            master = safe_get_full_fp32_param(parameter)
            if master is not None:
                return master.detach().cpu().clone() if self.rank == 0 else torch.zeros(0)
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
            # Only inference uses it, and compiling it takes a minute and a compiler. The switch is private.
            compatible: Any = getattr(ops, "__compatible_ops__", None)
            if isinstance(compatible, dict):
                compatible["deepspeed_shm_comm"] = False
        deepspeed.comm.init_distributed("nccl" if self.device.type == "cuda" else "gloo", verbose=False)


def own_device(local_rank: int, *, gpus: int) -> torch.device:
    """The GPU of a rank of this machine, which has `gpus` of them; the CPU where it has none.

    Raises:
        TrainingError: there are some, and none for this rank.
    """
    if gpus == 0:
        return torch.device("cpu")
    if local_rank >= gpus:
        raise TrainingError(
            f"there is no GPU for rank {local_rank}: this machine shows {gpus}, and each rank needs one of "
            f"its own. Set training.processes to {gpus}, or let CUDA_VISIBLE_DEVICES name more; set to "
            "nothing, it leaves the training to the CPU."
        )
    return torch.device("cuda", local_rank)


def _attention(device: torch.device, dtype: DType, *, packs: bool) -> str:
    if not packs:
        return "padded rows"
    if device.type != "cuda":
        return "packed rows"
    if dtype == "float32":
        return "packed rows, attention piece by piece"
    if problem := varlen.problem_with_device(device):
        return f"packed rows, attention piece by piece (not by the variable-length kernel: {problem})"
    return "packed rows, attention by the variable-length kernel"


def load_model(directory: Path) -> Any:
    """A causal language model in float32, as every training begins.

    Raises:
        TrainingError: there is none.
    """
    disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(
            str(directory),
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # Nothing is generated here, and a file that transformers calls invalid must not end the training.
            generation_config=GenerationConfig(),
        )
    except (OSError, ValueError) as error:
        raise TrainingError(f"{directory}: cannot load a causal language model from it: {error}") from error
