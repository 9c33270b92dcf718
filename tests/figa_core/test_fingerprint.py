"""What makes two model directories the same model."""

from pathlib import Path

import pytest

from figa_core.errors import InputError
from figa_core.fingerprint import model_fingerprint


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (directory / name).write_text(name)
    return directory


def test_the_same_files_elsewhere_are_the_same_model(model: Path, tmp_path: Path) -> None:
    before = model_fingerprint(model)
    assert model_fingerprint(model.rename(tmp_path / "renamed")) == before


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"]
)
def test_another_weight_setting_or_template_is_another_model(model: Path, name: str) -> None:
    before = model_fingerprint(model)
    (model / name).write_text("changed")
    assert model_fingerprint(model) != before


def test_other_files_do_not_count(model: Path) -> None:
    before = model_fingerprint(model)
    (model / "README.md").write_text("new")
    assert model_fingerprint(model) == before


def test_the_cache_sees_a_changed_file_and_survives_its_own_damage(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "fingerprints.json"
    first = model_fingerprint(model, cache)
    assert model_fingerprint(model, cache) == first == model_fingerprint(model)
    (model / "config.json").write_text("something longer than before")
    assert model_fingerprint(model, cache) == model_fingerprint(model) != first
    cache.write_text("{broken")
    assert model_fingerprint(model, cache) == model_fingerprint(model)


def test_a_directory_that_is_no_model_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json is missing"):
        model_fingerprint(tmp_path)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_text("pickle")
    with pytest.raises(InputError, match=r"no \.safetensors weights"):
        model_fingerprint(model)
