"""The result of a training with LoRA: an adapter directory, or on request a whole model."""

import shutil

import torch

from figa_core.errors import DivergedTrainingError
from figa_core.models.adapter import record_base
from figa_core.models.fingerprint import model_fingerprint
from figa_core.training.change import WeightChange, weight_change
from figa_core.training.export import write_companions, writing
from figa_core.training.job import TrainingJob
from figa_core.training.lora import Lora
from figa_core.training.merging import adapter_change, write_merged


def export_lora(lora: Lora, updates: dict[str, torch.Tensor], job: TrainingJob) -> WeightChange | None:
    """Write the result to `job.model_dir`, as `export_model` does; returns what it changes of the weights.

    `updates` are the weights of the updates by their names in the model.

    Raises:
        TrainingError: a weight is not finite, or the directory cannot be written.
        EngineError: the updates cannot be merged.
    """
    _require_finite(updates)
    with writing(job) as temporary:
        lora.write(temporary, updates)
        record_base(temporary, job.model, base_fingerprint(job))
        if job.training.lora.merge:
            adapter = temporary.rename(job.output / "adapter.partial")
            try:
                write_merged(adapter, temporary)
            finally:
                shutil.rmtree(adapter)
        write_companions(job, temporary)
    if job.training.lora.merge:
        return weight_change(job.model, job.model_dir)
    return adapter_change(job.model_dir)


def _require_finite(updates: dict[str, torch.Tensor]) -> None:
    broken = [name for name, tensor in updates.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise DivergedTrainingError(
            f"the trained weights hold NaN or infinity ({', '.join(broken[:3])}), so nothing is exported. "
            "Lower the learning rate, or train in float32."
        )


def base_fingerprint(job: TrainingJob) -> str:
    """Of the model that the training begins with."""
    return job.base_fingerprint or model_fingerprint(job.model)
