"""The model of a training: loaded in float32, and run for the logits of chosen positions only.

Shapes: B rows, T tokens of a row, D hidden size, K weighted tokens, V vocabulary.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from figa_core.config.training import DType
from figa_core.errors import TrainingError
from figa_core.models.soft_capping import with_soft_capping
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.quantized import quantization, weights_in


class WeightedTokenLogits(nn.Module):
    """A causal language model that returns the logits of chosen positions only: the sparse head.

    The positions are chosen in the input of the model's own output projection, so everything the
    architecture does around it (scaling, soft-capping, tied embeddings, ZeRO-3 gathering the weight) is kept.
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
        piece_parents: tuple[int, ...] | None = None,
    ) -> torch.Tensor:
        """Logits (K, V) at ``(rows_K, columns_K)``."""
        self._rows_K, self._columns_K = rows_K, columns_K
        # No attention mask and no cache: with either, a packed sequence would see its neighbour.
        pieces = {"piece_lengths": piece_lengths, "piece_parents": piece_parents}
        packed = {name: value for name, value in pieces.items() if value is not None}
        output = self.model(input_ids=ids_BT, position_ids=position_ids_BT, use_cache=False, **packed)
        return output.logits[0] if self._sparse_head else output.logits[rows_K, columns_K]

    def _choose(self, _module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden_BTD, *rest = arguments
        device = hidden_BTD.device  # that of the head, if the model is spread over several
        return (hidden_BTD[self._rows_K.to(device), self._columns_K.to(device)][None], *rest)


def inputs_of(batch: MicroBatch, device: torch.device) -> tuple[Any, ...]:
    """The arguments of `WeightedTokenLogits.forward` for a micro-batch, on this device."""
    arrays = (batch.ids_BT, batch.rows_K, batch.columns_K, batch.position_ids_BT)
    tensors = [None if a is None else torch.from_numpy(a).to(device, non_blocking=True) for a in arrays]
    return (*tensors, batch.piece_lengths, batch.piece_parents)


def token_nll(logits_KV: torch.Tensor, targets_K: torch.Tensor, weights_K: torch.Tensor) -> torch.Tensor:
    """−log p of each target, (K), computed in fp32 at least.

    Raises:
        ValueError: logits, targets and weights differ in length.
    """
    lengths = len(logits_KV), len(targets_K), len(weights_K)
    if len(set(lengths)) > 1:  # a single weight would be broadcast silently
        raise ValueError(f"logits, targets and weights must have one length, but have {lengths}")
    if logits_KV.dtype in (torch.bfloat16, torch.float16):
        logits_KV = logits_KV.float()
    return functional.cross_entropy(logits_KV, targets_K, reduction="none")


def device_of(model: Any) -> torch.device:
    """The device for its inputs. Weights that stay in their files until they are used have none."""
    return torch.device("cpu") if model.device.type == "meta" else model.device


def parameters_of(module: nn.Module) -> int:
    """The number of its weights, tied ones once; with ZeRO-3, those of all ranks."""
    return sum(weights_in(parameter) for parameter in module.parameters())


def load_model(directory: Path) -> Any:
    """A causal language model in float32, in which every training begins.

    Raises:
        TrainingError: transformers cannot load one from the directory.
    """
    return load_model_with_report(directory)[0]


def load_quantized(directory: Path, dtype: DType, device: torch.device) -> Any:
    """A causal language model with its linear layers, but the output layer, in 4 bits; the rest in float32.

    Raises:
        TrainingError: like `load_model`.
    """
    how = {"quantization_config": quantization(dtype), "device_map": {"": device}}
    return load_model_with_report(directory, **how)[0]


def load_model_with_report(directory: Path, **how: Any) -> tuple[Any, dict[str, Any]]:
    """`load_model`, and what transformers reports: its `missing_keys`, for example.

    `how` are further arguments of `from_pretrained`.

    Raises:
        TrainingError: like `load_model`.
    """
    disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(directory),
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # Nothing is generated here, so a file that transformers calls invalid must not end the training.
            generation_config=GenerationConfig(),
            output_loading_info=True,
            **how,
        )
    except (OSError, ValueError) as error:
        raise TrainingError(f"{directory}: cannot load a causal language model from it: {error}") from error
    model, report = loaded
    return with_soft_capping(model), report
