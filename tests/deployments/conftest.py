"""One `make serve` for the tests of this folder, and a run as the form sends it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from figa_core.sandbox.build import Sandbox
from tests.deployments.operation import Operation, operation
from tests.flows.conftest import KEY, KEY_VARIABLE, project_settings

PRICES = 'spending.prices."sandbox-teacher"'


def form(directory: Path, sandbox: Sandbox, base_url: str, **sections: dict[str, Any]) -> dict[str, Any]:
    """The parameter `config` of a small run; `sections` override it field by field."""
    settings = project_settings(directory, sandbox, base_url)
    settings["spending"] = {"prices": {"sandbox-teacher": settings.pop(PRICES)}}
    for section, fields in sections.items():
        settings[section] = {**settings.get(section, {}), **fields}
    return settings


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operation]:
    with operation(tmp_path_factory.mktemp("serving"), **{KEY_VARIABLE: KEY}) as started:
        yield started
