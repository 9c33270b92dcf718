"""An export is what the next tool wants: every file that belongs to the model, in the dtype of its base."""

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
from tests.figa_core.training.jobs import changed, training_job

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
    """The tests' model with the files that models of many kinds bring along."""
    target = tmp_path / "model"
    shutil.copytree(model_dir, target)
    for name in (*COMPANIONS, *LEFT):
        path = target / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"of": name}) if name.endswith("json") else name)
    return target


def job_of(model: Path, shards_dir: Path, tmp_path: Path) -> TrainingJob:
    job = training_job(model, shards_dir, tmp_path / "out", processes=1)
    job.output.mkdir()
    return job


def loaded(model: Path, dtype: torch.dtype = torch.float32) -> Any:
    return AutoModelForCausalLM.from_pretrained(model, dtype=dtype, generation_config=GenerationConfig())


def test_what_describes_tokens_templates_and_processors_goes_along_and_other_weights_do_not(
    model: Path,
) -> None:
    found = {path.relative_to(model).as_posix() for path in companion_files(model)}
    assert found >= {*COMPANIONS, "tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert not found & {*LEFT, "config.json", "model.safetensors"}


@pytest.mark.parametrize("base_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trained_in", [torch.float32, torch.bfloat16])
def test_an_export_has_the_dtype_of_its_base_whatever_it_was_trained_in(
    model_dir: Path, shards_dir: Path, tmp_path: Path, base_dtype: torch.dtype, trained_in: torch.dtype
) -> None:
    base = tmp_path / "base"
    shutil.copytree(model_dir, base)
    loaded(model_dir).to(base_dtype).save_pretrained(base)
    job = job_of(base, shards_dir, tmp_path)
    trained = loaded(base, trained_in)
    export_model(trained, trained.state_dict(), job)
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
def test_a_generation_config_that_transformers_does_not_save_goes_along_as_it_is_and_is_said(
    model_dir: Path, shards_dir: Path, tmp_path: Path, invalid: dict[str, object]
) -> None:
    base = tmp_path / "base"
    shutil.copytree(model_dir, base)
    (base / "generation_config.json").write_text(json.dumps(invalid))
    job, trained = job_of(base, shards_dir, tmp_path), loaded(base)
    (told,) = rehearse(trained, job)
    assert str(base / "generation_config.json") in told
    assert generation_config_problem(base) is not None
    assert list(job.output.iterdir()) == []  # nothing is left of the rehearsal
    export_model(trained, trained.state_dict(), job)
    assert json.loads((job.model_dir / "generation_config.json").read_text()) == invalid


def test_a_base_without_a_generation_config_gets_none(
    model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    """An empty one would hide the end of turn that config.json names."""
    base = tmp_path / "base"
    shutil.copytree(model_dir, base)
    (base / "generation_config.json").unlink()
    job, trained = job_of(base, shards_dir, tmp_path), loaded(base)
    assert list(rehearse(trained, job)) == []
    export_model(trained, trained.state_dict(), job)
    assert not (job.model_dir / "generation_config.json").exists()
    assert AutoModelForCausalLM.from_pretrained(job.model_dir).generation_config.eos_token_id == 1


def test_weights_that_are_no_numbers_are_not_exported(
    model_dir: Path, shards_dir: Path, tmp_path: Path
) -> None:
    job, trained = job_of(model_dir, shards_dir, tmp_path), loaded(model_dir)
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    state["model.norm.weight"][3] = float("nan")
    with pytest.raises(TrainingError, match=r"NaN or infinity \(model\.norm\.weight\)"):
        export_model(trained, state, job)
    assert not job.model_dir.exists()


def test_a_disk_that_is_full_at_the_export_is_said(model_dir: Path, shards_dir: Path, tmp_path: Path) -> None:
    """Not even the directory can be made: a file is in its place, and cannot be removed as a directory."""
    job, trained = job_of(model_dir, shards_dir, tmp_path), loaded(model_dir)
    (job.output / "model.partial").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="cannot write the trained model"):
        export_model(trained, trained.state_dict(), job)


@pytest.mark.distributed
def test_a_model_trained_in_bfloat16_is_not_rounded_and_brings_everything_along(
    model: Path, shards_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From float32 weights, with a learning rate below what bfloat16 could hold of most of them."""
    caplog.set_level(logging.INFO, logger="figa_core")
    (model / "generation_config.json").write_text(json.dumps(INVALID))
    for name in ("special_tokens_map.json", "added_tokens.json", "chat_template.json", "vocab.json"):
        (model / name).unlink()  # these are read, and would have to be real
    for name in (
        "spiece.model",
        "tokenizer.model.v3",
        "merges.txt",
        "tekken.json",
        "vocab.bpe",
        "adapter_config.json",
        "model.safetensors.index.json",
    ):
        (model / name).unlink()
    job = training_job(model, shards_dir, tmp_path / "out", processes=1, dtype="bfloat16")
    job = changed(job, steps=2, learning_rate=1e-7)
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
