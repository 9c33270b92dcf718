"""Whether a model draws random numbers in training, from its files."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figa_core.models.config_json import read_config


def has_dropout(model: Path) -> bool:
    """Whether config.json, or what transformers adds to it, has a dropout above 0.

    Raises:
        EngineError: config.json cannot be read.
    """
    import transformers

    settings: Mapping[str, Any] = read_config(model)
    # With a file from outside, a library may raise anything; then the file alone counts.
    with contextlib.suppress(Exception):
        settings = transformers.AutoConfig.from_pretrained(
            str(model), local_files_only=True, trust_remote_code=False
        ).to_dict()
    return _has_dropout(settings)


def _has_dropout(settings: Mapping[Any, Any]) -> bool:
    return any(
        _has_dropout(value)
        if isinstance(value, dict)
        else "drop" in str(name) and isinstance(value, float) and value > 0
        for name, value in settings.items()
    )
