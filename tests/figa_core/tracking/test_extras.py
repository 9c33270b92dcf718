"""A library that is not installed is said by name, with the command that installs it."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from figa_core.config.tracking import TrackerName
from figa_core.tracking.extras import LIBRARIES, missing

ROOT = Path(__file__).resolve().parents[3]


def test_every_tracker_has_a_library_and_an_extra_with_its_name() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(get_args(TrackerName)) == LIBRARIES.keys()
    for name, module in LIBRARIES.items():
        [*_, package] = [re.split("[<>=]", line)[0] for line in extras[name] if module in line]
        assert package.startswith(module)


def test_a_library_that_is_not_here_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIBRARIES, "wandb", "a_module_that_nobody_has")
    assert missing(["wandb"]) == [
        "wandb: the library a_module_that_nobody_has is not installed. Install it: pip install 'figa[wandb]'"
    ]
    monkeypatch.setitem(LIBRARIES, "wandb", "json")
    assert missing(["wandb"]) == []
