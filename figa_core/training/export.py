"""A trained model as a plain Hugging Face directory, with every file that other tools need.

Weights and config.json are written. Everything else about tokens, templates, processors and generation is
copied byte for byte from the base model, so that the trained model accepts the same shards. The weights get
the base model's dtype, so that the two are judged alike and a training in bfloat16 from float32 weights is
not rounded (its optimizer keeps float32 masters).
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError

from figa_core.chat.format import load_chat_format
from figa_core.errors import DivergedTrainingError, TrainingError, one_line
from figa_core.inference.checkpoint import checkpoint_dtype
from figa_core.training.exported_weights import (
    FILE_BYTES,
    WeightOf,
    WeightPlan,
    gather_weights,
    plan_weights,
    write_weights,
)
from figa_core.training.words import asking_with, problem_with_words

_GENERATION_CONFIG = "generation_config.json"
# By suffix, because tokenizers and processors name their files as they like.
_COPIED_SUFFIXES = frozenset(
    (".json", ".jinja", ".model", ".spm", ".tiktoken", ".txt", ".vocab", ".bpe", ".codes", ".dict")
)
_COPIED_PATTERNS = ("tokenizer*", "vocab*", "merges*", "chat_template*", "LICENSE*", "NOTICE*", "USE_POLICY*")
# Written here, or about other weights: an adapter, another format, another training's log.
_NOT_COPIED = (
    "config.json",
    "*.index.json",
    "adapter_*",
    "base_model.json",
    "merged.json",
    "params.json",
    "quantize_config.json",
    "trainer_state.json",
    "training_args*",
    "*_results.json",
    "requirements*.txt",
)


class Trained(Protocol):
    """What is known of a training here: the base model, the directories, and its prompt words."""

    @property
    def objective(self) -> str: ...
    @property
    def model(self) -> Path: ...
    @property
    def output(self) -> Path: ...
    @property
    def model_dir(self) -> Path: ...
    @property
    def prompt_words(self) -> str: ...


def export_model(
    model: Any, weight_of: WeightOf, job: Trained, *, writes: bool = True, file_bytes: int = FILE_BYTES
) -> None:
    """Write the model to a temporary directory, then rename it to `job.model_dir`.

    The weights are asked for one by one. If that takes all ranks, all call this, and only one `writes`.

    Raises:
        TrainingError: a weight is not finite, or the directory cannot be written.
    """
    dtype = export_dtype(job.model)
    plan = plan_weights(model, dtype, file_bytes=file_bytes)
    if not writes:
        gather_weights(plan, weight_of)
        return
    with writing(job) as temporary:
        write_model(model, plan, weight_of, temporary)
        write_companions(job, temporary)


def write_model(model: Any, plan: WeightPlan, weight_of: WeightOf, directory: Path) -> None:
    """Write config.json and the weights as planned.

    Raises:
        DivergedTrainingError: a weight is not finite.
        OSError, SafetensorError: a file cannot be written.
    """
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(directory)
    _name_dtype(directory / "config.json", plan.dtype)
    write_weights(directory, model, plan, weight_of)


@contextlib.contextmanager
def writing(job: Trained) -> Iterator[Path]:
    """A place for a directory that becomes `job.model_dir`. Raises TrainingError if it cannot be written."""
    temporary = job.output / "model.partial"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        yield temporary
        shutil.rmtree(job.model_dir, ignore_errors=True)
        temporary.rename(job.model_dir)
    except DivergedTrainingError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        free = shutil.disk_usage(job.output).free / 2**30
        raise TrainingError(
            f"{job.model_dir}: cannot write the trained model: {error}. {free:.1f} GiB are free there. "
            "Free space and run again: the training continues from its last checkpoint."
        ) from error


def rehearse(model: Any, job: Trained) -> Iterator[str]:
    """Write everything but the weights and remove it again, so that an export that would fail is known before
    the first step. Yields warnings for the log.

    Raises:
        TrainingError: the model's configuration cannot be exported.
    """
    temporary = job.output / "model.partial"
    try:
        model.config.save_pretrained(temporary)
        write_companions(job, temporary)
        _check_words(job, temporary)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{job.model}: a model trained from it cannot be exported: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if problem := generation_config_problem(job.model):
        yield (
            f"{job.model / _GENERATION_CONFIG}: transformers refuses to save it ({problem}). It is copied "
            "unchanged; the training does not need it."
        )


def generation_config_problem(model: Path) -> str | None:
    """What transformers finds wrong with the model's generation_config.json, if anything."""
    from transformers import GenerationConfig

    if not (model / _GENERATION_CONFIG).is_file():
        return None
    try:
        GenerationConfig.from_pretrained(str(model), local_files_only=True).validate(strict=True)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        flags = re.findall(r"^- `(\w+)`: ", str(error), re.MULTILINE)
        return f"it does not use {', '.join(flags)}" if flags else one_line(error)[:200]
    return None


def export_dtype(model: Path) -> torch.dtype:
    """The checkpoint's dtype, in which both engines run it."""
    found = getattr(torch, checkpoint_dtype(model), None)
    return found if isinstance(found, torch.dtype) and found.is_floating_point else torch.float32


def companion_files(model: Path) -> list[Path]:
    """The files of a model directory that belong to its tokenizer, templates, processors and generation."""
    found = {path for pattern in _COPIED_PATTERNS for path in model.glob(pattern)}
    found |= {path for path in model.iterdir() if path.suffix in _COPIED_SUFFIXES}
    found |= {*(model / "additional_chat_templates").rglob("*")}
    found -= {path for pattern in _NOT_COPIED for path in model.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def copy_companions(model: Path, target: Path) -> None:
    """Copy the files that do not depend on the weights. Raises OSError."""
    for source in companion_files(model):
        copy = target / source.relative_to(model)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def write_companions(job: Trained, target: Path) -> None:
    """Copy the base model's companion files, with the template that the objective's words need."""
    model = job.model
    (target / _GENERATION_CONFIG).unlink(missing_ok=True)  # made up by transformers
    copy_companions(model, target)
    chat, words = load_chat_format(model), job.prompt_words
    if chat.fallback_template or words:
        template = asking_with(words, chat.template) if words else chat.template
        (target / "chat_template.jinja").write_text(template, encoding="utf-8")


def _check_words(job: Trained, exported: Path) -> None:
    """Raises TrainingError if the exported model would not be asked with the objective's words."""
    words = job.prompt_words
    if not words:
        return
    if problem := problem_with_words(load_chat_format(job.model), load_chat_format(exported), words):
        raise TrainingError(f"{job.model}: {job.objective} cannot train it: {problem}.")


def _name_dtype(path: Path, dtype: torch.dtype) -> None:
    """Correct the dtype in config.json: transformers writes that of the training."""
    config = json.loads(path.read_text(encoding="utf-8"))
    name = str(dtype).removeprefix("torch.")
    for section in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in ("dtype", "torch_dtype"):
            if isinstance(section.get(key), str):
                section[key] = name
    config["dtype"] = name
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
