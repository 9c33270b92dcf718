"""A model is judged by a run that has a place of the pool, and must wait for no other one there."""

import copy
from typing import Any

import pytest

from figa_core.config import PipelineConfig
from flows import evaluate_model
from tests.figa_core.config.other_values import NEEDED

ON_POOL = {
    "model": "g",
    "engine": "server",
    "workers": 2,
    "server": {"managed": True},
    "serving": {"pool": True},
}


@pytest.fixture
def config() -> PipelineConfig:
    settings: dict[str, Any] = copy.deepcopy(NEEDED)
    return PipelineConfig.model_validate(settings | {"generation": ON_POOL})


def test_on_the_pool_it_has_its_servers_on_its_own_machine(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_model, "started_by_worker", lambda: True)
    generation = evaluate_model._by_itself(config).generation
    assert generation.server.managed
    assert not generation.serving.pool
    assert generation.workers is None


def test_elsewhere_they_stay_where_the_run_had_them(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_model, "started_by_worker", lambda: False)
    assert evaluate_model._by_itself(config).generation == config.generation
