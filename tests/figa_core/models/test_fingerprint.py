"""Two directories with the same files hold the same model."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from figa_core.errors import InputError
from figa_core.models.fingerprint import model_fingerprint


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
    for damage in ("{broken", "[]", "null", ""):
        cache.write_text(damage)
        assert model_fingerprint(model, cache) == model_fingerprint(model)


def test_a_file_of_known_size_and_time_is_not_read_again(model: Path, tmp_path: Path) -> None:
    cache, weights = tmp_path / "fingerprints.json", model / "model.safetensors"
    first, stat = model_fingerprint(model, cache), weights.stat()
    weights.write_bytes(weights.read_bytes()[::-1])
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert model_fingerprint(model, cache) == first != model_fingerprint(model)


def test_one_cache_serves_several_models(model: Path, tmp_path: Path) -> None:
    cache, other = tmp_path / "fingerprints.json", tmp_path / "other"
    shutil.copytree(model, other)
    (other / "config.json").write_text("another")
    first, second = model_fingerprint(model, cache), model_fingerprint(other, cache)
    assert first != second
    assert (model_fingerprint(model, cache), model_fingerprint(other, cache)) == (first, second)


def test_the_same_contents_under_other_names_are_another_model(model: Path) -> None:
    before = model_fingerprint(model)
    (model / "tokenizer.json").rename(model / "special_tokens_map.json")
    assert model_fingerprint(model) != before


def test_a_directory_that_is_not_a_model_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json is missing"):
        model_fingerprint(tmp_path)
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_text("pickle")
    with pytest.raises(InputError, match=r"no \.safetensors weights"):
        model_fingerprint(model)


def test_a_cache_that_cannot_be_written_is_no_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert model_fingerprint(model, tmp_path / "file" / "fingerprints.json") == model_fingerprint(model)


def test_a_full_disk_leaves_the_cache_as_it_was(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "fingerprints.json"
    cache.write_text("{}")
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from figa_core.models.fingerprint import model_fingerprint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "print(model_fingerprint(Path(sys.argv[1]), Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(model), str(cache)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.strip() == model_fingerprint(model)
    assert cache.read_text() == "{}"
    assert [path.name for path in tmp_path.glob("fingerprints*")] == ["fingerprints.json"]


def test_a_broken_link_is_named(model: Path) -> None:
    (model / "extra.json").symlink_to(model / "nowhere")
    with pytest.raises(InputError, match=r"extra\.json: a file of the model cannot be read"):
        model_fingerprint(model)


def test_weights_that_are_not_finite_are_found_when_they_are_hashed(model: Path, tmp_path: Path) -> None:
    weights = {"w": torch.zeros(200_000)}
    weights["w"][150_000] = torch.nan
    save_file(weights, model / "model.safetensors")
    cache = tmp_path / "fingerprints.json"
    for _ in range(2):
        with pytest.raises(InputError, match=r"model\.safetensors: w holds NaN"):
            model_fingerprint(model, cache)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_device_among_its_files_is_not_read(model: Path, name: str) -> None:
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(os.devnull)
    with pytest.raises(InputError, match=rf"{name}: .*it is a device, not a regular file"):
        model_fingerprint(model)
