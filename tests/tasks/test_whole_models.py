"""An adapter in the place of a model: the same ids and samples as of the whole model that it stands for."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from figa_core.config import LoraConfig, TrainingConfig
from figa_core.errors import InputError
from figa_core.models.adapter import record_base
from figa_core.models.fingerprint import model_fingerprint
from figa_core.sandbox.build import Sandbox
from figa_core.training.job import TrainingJob, TrainingSpec
from figa_core.training.lora import add_lora
from figa_core.training.model import load_model
from tasks.generate import generate, generator_id
from tasks.train import training_job
from tasks.whole_models import whole_model
from tasks.workspace import Workspace

from .conftest import RUN, Chain
from .shard_sets import write_set


@pytest.fixture
def adapter(sandbox: Sandbox, tmp_path: Path) -> Path:
    """Of the sandbox's base model, which it changes much."""
    base = shutil.copytree(sandbox.base_model, tmp_path / "base")
    model = load_model(base)
    lora = add_lora(model, LoraConfig(rank=2), base=base, seed=0)
    assert lora is not None
    torch.manual_seed(1)
    drawn = {
        name: torch.randn_like(weight) * 0.2
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    lora.write(tmp_path / "adapter", drawn)
    record_base(tmp_path / "adapter", base, model_fingerprint(base))
    return tmp_path / "adapter"


def test_a_whole_model_is_itself_and_an_adapter_is_merged_once(
    workspace: Workspace, adapter: Path, tmp_path: Path
) -> None:
    assert whole_model(workspace, tmp_path / "base") == tmp_path / "base"
    whole = whole_model(workspace, adapter)
    assert whole.parent == workspace.directory / "merged"
    assert model_fingerprint(whole) == model_fingerprint(adapter) != model_fingerprint(tmp_path / "base")
    written = (whole / "model.safetensors").stat().st_mtime_ns
    assert whole_model(workspace, adapter) == whole
    assert (whole / "model.safetensors").stat().st_mtime_ns == written


def test_an_adapter_draws_the_samples_of_its_merged_model(chain: Chain, adapter: Path) -> None:
    chain.import_prompts()
    whole = whole_model(chain.workspace, adapter)
    drawn: dict[Path, dict[str, str]] = {}
    for model in (adapter, chain.sampling.model):
        sampling = replace(chain.sampling, model=model, temperature=0.0)
        generate.fn(chain.workspace, RUN, chain.generation, sampling, 200, engines=chain.engines)
        generator = generator_id(chain.workspace, chain.generation, sampling)
        query = "SELECT prompt_id, text FROM responses WHERE generator_id = $generator"
        drawn[model] = dict(chain.workspace.database.fetch(query, generator=generator))
        if model == adapter:
            of_whole = replace(sampling, model=whole)
            assert generator_id(chain.workspace, chain.generation, of_whole) == generator
    of_adapter, of_base = drawn.values()
    assert of_adapter.keys() == of_base.keys()
    assert len(of_adapter) > 10
    assert sum(of_adapter[prompt] != of_base[prompt] for prompt in of_base) > len(of_base) / 2


def test_a_training_begins_with_the_merged_model_and_records_its_fingerprint(
    workspace: Workspace, adapter: Path, tmp_path: Path
) -> None:
    job = job_of(workspace, adapter, LoraConfig(rank=4))
    assert job.model == whole_model(workspace, adapter)
    assert job.base_fingerprint == model_fingerprint(adapter)
    assert job.training_id == job_of(workspace, job.model, LoraConfig(rank=4)).training_id
    assert job_of(workspace, adapter, LoraConfig()).base_fingerprint is None


def job_of(workspace: Workspace, model: Path, lora: LoraConfig) -> TrainingJob:
    shards = write_set(workspace.shards("set"), pairs=8)
    spec = TrainingSpec(shards=shards, model=model, training=TrainingConfig(lora=lora, pairs_per_step=4))
    return training_job(workspace, spec)


def test_an_adapter_of_another_base_model_makes_nothing(
    workspace: Workspace, adapter: Path, tmp_path: Path
) -> None:
    config = tmp_path / "base" / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(InputError, match="it was trained on another base model than"):
        whole_model(workspace, adapter)
    assert not (workspace.directory / "merged").exists()
