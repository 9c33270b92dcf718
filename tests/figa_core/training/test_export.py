"""An export has every file that belongs to the model, and the dtype of its base model."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from figa_core.chat.format import load_chat_format
from figa_core.errors import TrainingError
from figa_core.training import checkpoints
from figa_core.training.change import WeightChange
from figa_core.training.export import companion_files, export_model, generation_config_problem, rehearse
from figa_core.training.job import TrainingJob
from figa_core.training.launch import run_training
from tests.figa_core.training.jobs import MakeJob, changed

INVALID = {"eos_token_id": 1, "do_sample": False, "temperature": 0.7, "top_p": 0.9}
COMPANIONS = (
    "added_tokens.json",
    "additional_chat_templates/tool_use.jinja",
    "chat_template.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "qwen.tiktoken",
    "source.spm",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "tokenizer.model.v3",
    "video_preprocessor_config.json",
    "vocab.bpe",
    "vocab.json",
    "LICENSE",
)
# transformers reads these, so made-up ones would be an error in a training.
READ = (
    *("added_tokens.json", "chat_template.json", "merges.txt", "special_tokens_map.json", "spiece.model"),
    *("tekken.json", "tokenizer.model.v3", "vocab.bpe", "vocab.json"),
    *("adapter_config.json", "model.safetensors.index.json"),
)
LEFT = (
    "README.md",
    "adapter_config.json",
    "model.safetensors.index.json",
    "params.json",
    "pytorch_model.bin",
    "trainer_state.json",
    "modeling_own.py",
)


@pytest.fixture
def model(model_dir: Path, tmp_path: Path) -> Path:
    """The tests' model with files that various kinds of models have."""
    target = shutil.copytree(model_dir, tmp_path / "model")
    for name in (*COMPANIONS, *LEFT):
        path = target / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"of": name}) if name.endswith("json") else name)
    return target


@pytest.fixture
def job(make_job: MakeJob) -> TrainingJob:
    """With an output directory, but not started."""
    job = make_job()
    job.output.mkdir()
    return job


def loaded(model: Path, dtype: torch.dtype = torch.float32) -> Any:
    return AutoModelForCausalLM.from_pretrained(model, dtype=dtype, generation_config=GenerationConfig())


def test_files_about_tokens_templates_and_processors_are_copied_and_other_weights_are_not(
    model: Path,
) -> None:
    found = {path.relative_to(model).as_posix() for path in companion_files(model)}
    assert found >= {*COMPANIONS, "tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert not found & {*LEFT, "config.json", "model.safetensors"}


@pytest.mark.parametrize("base_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trained_in", [torch.float32, torch.bfloat16])
def test_an_export_has_the_dtype_of_its_base_whatever_it_was_trained_in(
    job: TrainingJob, tmp_path: Path, base_dtype: torch.dtype, trained_in: torch.dtype
) -> None:
    base = shutil.copytree(job.model, tmp_path / "base")
    loaded(job.model).to(base_dtype).save_pretrained(base)
    job, trained = changed(job, model=base), loaded(base, trained_in)
    export_model(trained, trained.state_dict().__getitem__, job)
    assert {tensor.dtype for tensor in load_file(job.model_dir / "model.safetensors").values()} == {
        base_dtype
    }
    assert AutoModelForCausalLM.from_pretrained(job.model_dir, dtype="auto").dtype == base_dtype


@pytest.mark.parametrize(
    "invalid",
    [
        INVALID,
        {"eos_token_id": 1, "top_k": 5, "do_sample": False},
        {"num_return_sequences": 4, "num_beams": 2},
    ],
)
def test_a_generation_config_that_transformers_refuses_is_copied_unchanged_with_a_warning(
    job: TrainingJob, tmp_path: Path, invalid: dict[str, object]
) -> None:
    base = shutil.copytree(job.model, tmp_path / "base")
    (base / "generation_config.json").write_text(json.dumps(invalid))
    job, trained = changed(job, model=base), loaded(base)
    (warning,) = rehearse(trained, job)
    assert str(base / "generation_config.json") in warning
    assert generation_config_problem(base) is not None
    assert list(job.output.iterdir()) == []  # the rehearsal removes its files
    export_model(trained, trained.state_dict().__getitem__, job)
    assert json.loads((job.model_dir / "generation_config.json").read_text()) == invalid


def test_a_base_without_a_generation_config_gets_none(job: TrainingJob, tmp_path: Path) -> None:
    """An empty one would hide the end-of-turn token in config.json."""
    base = shutil.copytree(job.model, tmp_path / "base")
    (base / "generation_config.json").unlink()
    job, trained = changed(job, model=base), loaded(base)
    assert list(rehearse(trained, job)) == []
    export_model(trained, trained.state_dict().__getitem__, job)
    assert not (job.model_dir / "generation_config.json").exists()
    assert AutoModelForCausalLM.from_pretrained(job.model_dir).generation_config.eos_token_id == 1


def test_weights_that_are_not_finite_are_not_exported(job: TrainingJob) -> None:
    trained = loaded(job.model)
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    state["model.norm.weight"][3] = float("nan")
    with pytest.raises(TrainingError, match=r"NaN or infinity \(model\.norm\.weight\)"):
        export_model(trained, state.__getitem__, job)
    assert not job.model_dir.exists()


def test_an_export_that_cannot_be_written_is_an_error(job: TrainingJob) -> None:
    """As on a full disk: the temporary directory cannot even be created, because a file is in its place."""
    trained = loaded(job.model)
    (job.output / "model.partial").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="cannot write the trained model"):
        export_model(trained, trained.state_dict().__getitem__, job)


@pytest.mark.distributed
def test_a_model_trained_in_bfloat16_is_not_rounded_and_has_every_file(
    model: Path, make_job: MakeJob, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From float32 weights, with updates smaller than bfloat16 can represent for most of them."""
    caplog.set_level(logging.INFO, logger="figa_core")
    (model / "generation_config.json").write_text(json.dumps(INVALID))
    for name in READ:
        (model / name).unlink()
    job = make_job(model=model, dtype="bfloat16", steps=2, learning_rate=1e-7)
    run_training(job, log_path=tmp_path / "log")

    assert any("transformers refuses to save it" in message for message in caplog.messages)
    manifest = checkpoints.read_manifest(job.output)
    assert manifest is not None
    change = manifest.change
    assert change is not None
    assert (change.dtype, change.dtype_before) == ("float32", "float32")
    assert 0.99 * change.compared <= change.changed
    assert change == WeightChange(**dataclasses.asdict(change))
    assert change.relative < 1e-5  # rounding alone would be 1e-3
    assert (job.model_dir / "source.spm").read_text() == "source.spm"
    assert load_chat_format(job.model_dir).tokenizer_hash == load_chat_format(model).tokenizer_hash
    AutoTokenizer.from_pretrained(job.model_dir)
    AutoModelForCausalLM.from_pretrained(job.model_dir)
