"""One `make serve` for the tests of this folder, and a run as the form sends it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from figa_core.sandbox.build import Sandbox
from tests.deployments.databases import Databases, databases, reason_against
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


BACKENDS = ("serving_on_sqlite", pytest.param("serving_on_postgres", marks=pytest.mark.slow))
"""The fixtures with which tests of the operation run."""


@pytest.fixture(scope="session")
def serving_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operation]:
    with operation(tmp_path_factory.mktemp("serving"), **{KEY_VARIABLE: KEY}) as started:
        yield started


@pytest.fixture(scope="session")
def serving(serving_on_sqlite: Operation) -> Operation:
    return serving_on_sqlite


@pytest.fixture(scope="session")
def postgres_and_redis() -> Iterator[Databases]:
    if reason := reason_against():
        pytest.skip(reason)
    with databases() as started:
        yield started


@pytest.fixture(scope="session")
def serving_on_postgres(
    tmp_path_factory: pytest.TempPathFactory, postgres_and_redis: Databases
) -> Iterator[Operation]:
    environment = {KEY_VARIABLE: KEY, **postgres_and_redis.environment}
    with operation(tmp_path_factory.mktemp("serving-on-postgres"), **environment) as started:
        yield started
