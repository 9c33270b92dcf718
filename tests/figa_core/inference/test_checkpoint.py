"""The dtype is read from the model directory, so that both engines agree."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from figa_core.errors import EngineError
from figa_core.inference.checkpoint import checkpoint_dtype


def _model(directory: Path, config: object, **weights: torch.Tensor) -> Path:
    (directory / "config.json").write_text(json.dumps(config))
    if weights:
        save_file(weights, directory / "model.safetensors")
    return directory


@pytest.mark.parametrize(
    "config",
    [
        {"dtype": "bfloat16"},
        {"torch_dtype": "bfloat16"},
        {"dtype": None, "text_config": {"dtype": "bfloat16"}},
    ],
)
def test_the_dtype_is_the_one_that_config_json_names(tmp_path: Path, config: dict[str, Any]) -> None:
    assert checkpoint_dtype(_model(tmp_path, config, weight=torch.zeros(1))) == "bfloat16"


def test_without_a_name_it_is_the_dtype_of_the_weights(tmp_path: Path) -> None:
    model = _model(tmp_path, {}, ids=torch.zeros(1, dtype=torch.int64), weight=torch.zeros(1).half())
    assert checkpoint_dtype(model) == "float16"


def test_damaged_weights_are_left_to_the_engine_to_report(tmp_path: Path) -> None:
    (_model(tmp_path, {}) / "model.safetensors").write_bytes(b"\xff" * 20)
    assert checkpoint_dtype(tmp_path) == "auto"


def test_missing_and_damaged_configs_are_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"config\.json: cannot read it"):
        checkpoint_dtype(tmp_path)
    (tmp_path / "config.json").write_text('{"dtype": ')
    with pytest.raises(EngineError, match="not valid JSON"):
        checkpoint_dtype(tmp_path)
    with pytest.raises(EngineError, match="not a JSON object"):
        checkpoint_dtype(_model(tmp_path, []))
