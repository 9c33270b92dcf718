"""LoRA before a run: modules that the model does not have, and adapters of another base model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from figa_core.config import LoraConfig
from figa_core.errors import InputError
from figa_core.models.adapter import record_base
from figa_core.models.fingerprint import model_fingerprint
from figa_core.sandbox.build import Sandbox
from figa_core.training.lora import add_lora
from figa_core.training.model import load_model
from flows.checks.lora import check_adapter, check_updates
from flows.checks.models import check_generation_lengths, check_generation_model

from .conftest import MakeFacts


@pytest.fixture
def base(sandbox: Sandbox, tmp_path: Path) -> Path:
    return shutil.copytree(sandbox.base_model, tmp_path / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """As a training writes it, but without a tokenizer, like those of other tools."""
    model = load_model(base)
    lora = add_lora(model, LoraConfig(rank=2), base=base, seed=0)
    assert lora is not None
    updates = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    lora.write(tmp_path / "adapter", updates)
    record_base(tmp_path / "adapter", base, model_fingerprint(base))
    return tmp_path / "adapter"


@pytest.mark.usefixtures("base")
def test_modules_that_the_model_does_not_have_are_a_problem(facts: MakeFacts) -> None:
    assert list(check_updates(facts())) == []
    assert list(check_updates(facts(training={"lora": {"rank": 4}}))) == []
    [found] = check_updates(facts(training={"lora": {"rank": 4, "target_modules": ["query"]}}))
    assert str(found).startswith("training.lora.target_modules: the model has no query. It has q_proj")


def test_an_adapter_is_examined_with_its_base(facts: MakeFacts, base: Path, adapter: Path) -> None:
    made = facts(generation={"model": str(adapter)})
    assert list(check_generation_model(made)) == []
    assert list(check_adapter(made)) == []
    assert made.generation_chat.template == facts().generation_chat.template
    long = facts(generation={"model": str(adapter), "max_tokens": 100_000})
    assert any("takes at most" in str(found) for found in check_generation_lengths(long))


def test_an_adapter_whose_base_has_changed_is_refused(facts: MakeFacts, base: Path, adapter: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    model.lm_head.weight.data += 1
    model.save_pretrained(base)
    with pytest.raises(InputError, match="it was trained on another base model than"):
        list(check_adapter(facts(generation={"model": str(adapter)})))


def test_an_adapter_whose_base_is_missing_is_refused(facts: MakeFacts, adapter: Path) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "/nowhere"}))
    [found] = check_generation_model(facts(generation={"model": str(adapter)}))
    assert "the adapter's base model /nowhere is not a directory here" in str(found)
