"""Finds the files of a model's weights, and checks that all of them exist and are complete. Headers only."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.files import require_regular
from figa_core.models.config_json import CONFIG, read_object
from figa_core.models.safetensors import LFS_ADVICE, Tensor, git_lfs_pointer, read_header

ADAPTER = "adapter_config.json"
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_POINTER_BYTES_MAX = 1024
_NAMES_SHOWN = 3


@dataclass
class Weights:
    """The weights by name; if there are `problems`, `tensors` is incomplete."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """The number of values in the files; tied ones count once."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())


def read_weights(model: Path) -> Weights:
    """The headers of all files that transformers and vLLM would load from `model`."""
    weights = Weights()
    single, index = model / _SINGLE, model / _INDEX
    if (model / ADAPTER).exists():
        weights.problems.append(_adapter(model))  # `adapter.underlying` has the weights of its base
    elif index.exists() and (single.exists() or single.is_symlink()):
        weights.problems.append(
            f"{model}: has {_SINGLE} and {_INDEX}; engines differ in which they load. Remove the wrong one."
        )
    elif index.exists():
        _read_shards(index, weights)
    elif single.exists() or single.is_symlink():
        _read_file(single, weights)
    else:
        weights.problems.append(f"{model}: {_instead(model)}")
    return weights


def has_weights(model: Path) -> bool:
    """Whether the directory has files of a whole model's weights."""
    return any(path.exists() or path.is_symlink() for path in (model / _SINGLE, model / _INDEX))


def irregular_files(model: Path) -> list[str]:
    """A problem for every pipe or device among the files that transformers reads: it would wait for them."""
    problems = []
    for path in sorted([*model.iterdir(), *(model / "additional_chat_templates").glob("*")]):
        try:
            require_regular(path)
        except FileNotFoundError:
            continue  # a dangling link; see `lfs_pointers`
        except OSError as error:
            problems.append(f"{path}: cannot read it: {error.strerror}. Fetch it again.")
    return problems


def lfs_pointers(model: Path) -> Iterator[str]:
    """A problem for every broken link, and for every git-lfs pointer instead of a file other than weights."""
    for path in sorted(model.iterdir()):
        if path.is_symlink() and not path.exists():
            yield f"{path}: cannot be read: it is a link to a file that does not exist. Fetch it again."
        elif path.suffix != ".safetensors" and path.is_file() and path.stat().st_size <= _POINTER_BYTES_MAX:
            try:
                if git_lfs_pointer(path.read_bytes()):
                    yield f"{path}: cannot be read: {LFS_ADVICE}"
            except OSError as error:
                yield f"{path}: cannot read it: {error.strerror}."


def names(found: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(found) - _NAMES_SHOWN
    return ", ".join(found[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _read_file(file: Path, weights: Weights) -> bool:
    try:
        weights.tensors.update((tensor.name, tensor) for tensor in read_header(file))
        return True
    except EngineError as error:
        weights.problems.append(str(error))
        return False


def _read_shards(index: Path, weights: Weights) -> None:
    try:
        listed = read_object(index, "Fetch it again.").get("weight_map")
    except EngineError as error:
        weights.problems.append(str(error))
        return
    if not isinstance(listed, dict) or not listed or not all(isinstance(v, str) for v in listed.values()):
        weights.problems.append(f"{index}: has no weight_map from weights to files. Fetch it again.")
        return
    shards = sorted(set(listed.values()))
    outside = [name for name in shards if Path(name).name != name]
    if outside:
        weights.problems.append(f"{index}: names files elsewhere ({names(outside)}). Fetch it again.")
        return
    missing = [name for name in shards if not (index.parent / name).exists()]
    if missing:
        held = sum(file in missing for file in listed.values())
        weights.problems.append(
            f"{index.parent}: {len(missing)} of {len(shards)} shards are missing ({names(missing)}), "
            f"and with them {held:,} weights. Fetch the model again."
        )
    whole = {name for name in shards if name not in missing and _read_file(index.parent / name, weights)}
    lost = sorted(name for name, file in listed.items() if file in whole and name not in weights.tensors)
    if lost:
        weights.problems.append(
            f"{index}: lists weights that their files do not hold ({names(lost)}). Fetch the model again."
        )


def _adapter(model: Path) -> str:
    if has_weights(model):
        return (
            f"{model}: holds a model and a PEFT adapter ({ADAPTER}), and the adapter would be left out. "
            "Merge it (PEFT's merge_and_unload), or remove its files."
        )
    return f"{model}: is a PEFT adapter, not a whole model. Give the directory of a whole model."


def _instead(model: Path) -> str:
    """What a directory without usable weights has instead, and what to do."""
    found = {path.suffix: path.name for path in sorted(model.iterdir(), reverse=True)}
    if ".safetensors" in found:
        return (
            f"has {found['.safetensors']}, but neither {_SINGLE} nor {_INDEX}, without which it cannot be "
            "loaded. Fetch the whole model again."
        )
    for suffix in (".bin", ".pt", ".pth", ".ckpt"):
        if suffix in found:
            return (
                f"has no .safetensors weights, only {found[suffix]}; pickled weights are not loaded. Convert "
                "the model (save_pretrained writes safetensors)."
            )
    if ".gguf" in found:
        return (
            f"has no .safetensors weights, only {found['.gguf']}; GGUF is quantized and cannot be trained. "
            "Give the original model."
        )
    if inner := _model_below(model):
        return f"holds no model itself, but {inner.relative_to(model)} in it does. Give {inner}."
    return f"has no .safetensors weights ({_SINGLE}). Give the directory of the whole model."


def _model_below(model: Path) -> Path | None:
    """A model in a directory below: a training's last checkpoint, or a snapshot in the hub's cache."""
    found = [config.parent for depth in ("*", "*/*") for config in model.glob(f"{depth}/{CONFIG}")]
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)
