"""A whole model from an adapter and its base: the updates are added to the weights, by peft.

The sum is made in float32 and stored in the base's dtype, as the result of a training is.
"""

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from figa_core.errors import EngineError, TrainingError, one_line
from figa_core.file_hashes import write_sealed
from figa_core.models.adapter import WEIGHTS, base_of
from figa_core.models.fingerprint import MERGED, fingerprinted_files
from figa_core.models.weight_files import names
from figa_core.training.change import WeightChange, compared
from figa_core.training.directory_lock import locked
from figa_core.training.export import copy_companions, export_dtype, write_model
from figa_core.training.exported_weights import plan_weights
from figa_core.training.model import load_model


def merged_once(adapter: Path, target: Path, fingerprint: str) -> None:
    """Merge the adapter into a model at `target`, unless it is there.

    `fingerprint` is the adapter's (`models/fingerprint.py`), and becomes the model's.

    Raises:
        EngineError: the adapter cannot be merged, or the model not be written.
    """
    with locked(target, f"{adapter}: merging"):
        if (target / MERGED).is_file():
            return
        temporary = target.with_name(f"{target.name}.partial")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            write_merged(adapter, temporary)
            fields = {
                "fingerprint": fingerprint,
                "adapter": str(adapter.resolve()),
                "files": fingerprinted_files(temporary),
            }
            write_sealed(temporary / MERGED, fields)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            free = shutil.disk_usage(target.parent).free / 2**30
            raise EngineError(
                f"{target}: cannot write the model that {adapter} is merged into: {error}. {free:.1f} GiB "
                "are free there."
            ) from error


def write_merged(adapter: Path, directory: Path) -> None:
    """Write the whole model, with the tokenizer and templates of the base, or the adapter's own.

    Raises:
        EngineError: the adapter cannot be loaded into its base.
        OSError, SafetensorError: the directory cannot be written.
    """
    base = base_of(adapter).directory
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tied weights, which the updates leave alone
        merged = _adapted(base, adapter).merge_and_unload()
    plan = plan_weights(merged, export_dtype(base))
    write_model(merged, plan, lambda name: merged.get_parameter_or_buffer(name).detach(), directory)
    for source in (base, adapter):
        copy_companions(source, directory)


def adapter_change(adapter: Path) -> WeightChange | None:
    """How far the merged model is from its base. Raises EngineError as `write_merged` does."""
    from peft.tuners.lora import LoraLayer

    base = base_of(adapter).directory
    dtype, model = export_dtype(base), _adapted(base, adapter)
    updates = {
        id(layer.get_base_layer().weight): layer for layer in model.modules() if isinstance(layer, LoraLayer)
    }

    def before_and_after(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        layer: Any = updates.get(id(weight))
        after = weight if layer is None else weight + layer.get_delta_weight("default")
        return weight.detach().to(dtype), after.detach().to(dtype)

    own = (weight for name, weight in model.named_parameters() if ".lora_" not in name)  # tied ones once
    return compared(before_and_after(weight) for weight in own)


def _adapted(base: Path, adapter: Path) -> Any:
    """The base in float32 with the adapter's updates, not yet merged."""
    import peft

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = peft.PeftModel.from_pretrained(load_model(base), str(adapter))
    except (TrainingError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise EngineError(f"{adapter}: cannot be loaded into {base}: {one_line(error)}") from error
    with safe_open(adapter / WEIGHTS, "pt") as file:
        held = set(file.keys())
    loaded = set(peft.get_peft_model_state_dict(model, save_embedding_layers=False))
    if odd := sorted(held ^ loaded):
        raise EngineError(
            f"{adapter}: its weights are not those of the updates that its configuration describes "
            f"({names(odd)}). Fetch it again, or merge it with PEFT (merge_and_unload)."
        )
    return model
